// Runs a fuzz target on mutations of a folder's files: mutate FOLDER COUNT [SEED]. Always the same ones for a seed.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "lookonce/images.h"
#include "target.h"

namespace {

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t limit) {
  return limit == 0 ? 0 : random() % limit;
}

// Numbers that are often not expected: nothing, signs, the ends of ranges, and what JSON and file formats are made of.
const std::vector<std::string> kWords{std::string(1, '\0'),
                                      "\xff",
                                      "\x7f\xff\xff\xff",
                                      std::string(4, '\0'),
                                      "\xff\xff\xff\xff",
                                      "\xff\xd8\xff\xe1",
                                      "\xff\xd9",
                                      "\xff\xda",
                                      "IHDR",
                                      "PLTE",
                                      "tRNS",
                                      "eXIf",
                                      "iTXt",
                                      "zTXt",
                                      "IEND",
                                      "Exif",
                                      "II*",
                                      "MM",
                                      "RIFF",
                                      "ANIM",
                                      "VP8X",
                                      "null",
                                      "-1",
                                      "1e38",
                                      "0",
                                      "\"",
                                      "[",
                                      "{",
                                      "]",
                                      "}",
                                      ",",
                                      ":",
                                      "18446744073709551615",
                                      "\xc3"};

void mutate_once(std::string& bytes, const std::vector<std::string>& seeds, Random& random) {
  const std::size_t at = below(random, bytes.size());
  switch (below(random, 8)) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes.erase(at, 1 + below(random, 16));
      break;
    case 2:
      bytes.insert(at, bytes.substr(below(random, bytes.size()), 1 + below(random, 64)));
      break;
    case 3: {
      const std::string& word = kWords[below(random, kWords.size())];
      bytes.insert(at, word);
      break;
    }
    case 4: {
      const std::string& word = kWords[below(random, kWords.size())];
      bytes.replace(at, std::min(word.size(), bytes.size() - at), word);
      break;
    }
    case 5: {
      const std::string& other = seeds[below(random, seeds.size())];
      bytes = bytes.substr(0, at) + other.substr(below(random, other.size()));
      break;
    }
    default:
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: %s FOLDER COUNT [SEED]\n", argv[0]), 2;
  std::vector<std::string> seeds;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    if (path.extension() != ".ppm") seeds.push_back(lookonce::read_file(path));
  }
  const long count = std::strtol(argv[2], nullptr, 10);
  Random random(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  for (long run = 0; run < count; ++run) {
    std::string bytes = seeds[below(random, seeds.size())];
    const std::size_t changes = 1 + below(random, 4);
    for (std::size_t change = 0; change < changes; ++change) mutate_once(bytes, seeds, random);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%ld mutations of %zu files\n", count, seeds.size());
}
