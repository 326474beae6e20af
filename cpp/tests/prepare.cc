// lookonce-prepare RECORD.json FOLDER IMAGE...: the network's input for each image as FOLDER/0.bin, 1.bin and so
// on, or the reason why there is none as FOLDER/0.txt; of a video each frame, 0-0.bin, 0-1.bin and so on. For the
// comparison with Python (tests/integration/test_cpp.py).

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "lookonce/errors.h"
#include "lookonce/letterbox.h"
#include "sources.h"
#include "video.h"

namespace {

void write(const lookonce::Image& image, const lookonce::Record& record, const std::string& target) {
  std::vector<std::uint8_t> canvas(static_cast<std::size_t>(record.height) * record.width * 3);
  fit_into(canvas.data(), image, record);
  std::ofstream(target + ".bin", std::ios::binary)
      .write(reinterpret_cast<const char*>(canvas.data()), static_cast<std::streamsize>(canvas.size()));
}

void prepare(const lookonce::Record& record, const std::string& path, const std::string& target) {
  try {
    if (!lookonce::is_video(path)) return write(lookonce::read_image(path), record, target);
    lookonce::Video video(path);
    for (int number = 0; const auto frame = video.next(); ++number) {
      write(frame->image, record, target + "-" + std::to_string(number));
    }
  } catch (const lookonce::Error& error) {
    std::ofstream(target + ".txt") << error.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: %s RECORD.json FOLDER IMAGE...\n", argv[0]), 2;
  const lookonce::Record record = lookonce::parse_record(lookonce::read_file(argv[1]), argv[1]);
  for (int index = 3; index < argc; ++index) {
    prepare(record, argv[index], std::string(argv[2]) + "/" + std::to_string(index - 3));
  }
}
