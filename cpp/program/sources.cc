#include "sources.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "lookonce/errors.h"
#include "lookonce/images.h"
#include "lookonce/text.h"

namespace lookonce {
namespace {

namespace fs = std::filesystem;

// Those of src/lookonce/data/images.py; a test compares them. Formats that only Python reads are reported.
const std::set<std::string> kImageSuffixes{".avif", ".avifs", ".bmp",  ".gif", ".j2c", ".j2k", ".jfif", ".jp2",
                                           ".jpc",  ".jpe",   ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo",  ".pbm",
                                           ".pgm",  ".png",   ".pnm",  ".ppm", ".tif", ".tiff", ".webp"};
const std::set<std::string> kVideoSuffixes{".3gp", ".avi",  ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
                                           ".mp4", ".mpeg", ".mpg", ".mts",  ".ogv", ".ts",    ".webm", ".wmv"};
// OTHER_IMAGE_SUFFIXES of src/lookonce/data/listing.py: read by neither program; a folder with such files is reported.
const std::set<std::string> kOtherSuffixes{".arw", ".cr2", ".dng", ".exr", ".hdr", ".heic", ".heif",
                                           ".hif", ".jxl", ".jxr", ".nef", ".psd", ".svg",  ".tga"};

std::string lower_suffix(const fs::path& path) {
  return lower_case(path.extension().string());
}

std::vector<Source> in_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::size_t others = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const bool hidden = entry.path().filename().string().front() == '.';
    if (!hidden && kOtherSuffixes.count(lower_suffix(entry.path())) != 0) ++others;
    const bool wanted = kImageSuffixes.count(lower_suffix(entry.path())) != 0 || is_video(entry.path());
    if (!hidden && wanted && entry.is_regular_file()) {
      paths.push_back(entry.path());
    }
  }
  const std::string unread = folder.string() + ": holds " + std::to_string(others) + " image" +
                             (others == 1 ? "" : "s") + " of a format that is not read, such as HEIC";
  if (paths.empty() && others > 0) throw Error(unread + "; save as JPEG or PNG");
  if (others > 0) std::cerr << "lookonce-infer: " << unread << ", left out; save as JPEG or PNG\n";
  if (paths.empty()) throw Error(folder.string() + ": holds no images; expected files ending in .jpg, .png, .webp ...");
  std::sort(paths.begin(), paths.end());
  std::vector<Source> sources;
  for (const fs::path& path : paths) sources.push_back({path.string(), fs::relative(path, folder), path});
  return sources;
}

std::string stripped(const std::string& line) {
  constexpr const char* kSpace = " \t\r\n";
  const std::size_t first = line.find_first_not_of(kSpace);
  return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(kSpace) - first + 1);
}

std::vector<Source> in_list(const fs::path& list) {
  std::vector<Source> sources;
  std::ifstream file(list);
  for (std::string line; std::getline(file, line);) {
    if (sources.empty() && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);
    const std::string text = stripped(line);
    if (text.empty()) continue;
    const fs::path beside = list.parent_path() / text;
    const fs::path path = fs::exists(beside) ? beside : fs::path(text);
    sources.push_back({path.string(), path.filename(), path});
  }
  if (sources.empty()) throw Error(list.string() + ": is empty; expected one image path per line");
  return sources;
}

std::vector<Source> find_one(const std::string& argument) {
  if (argument == "-") return {{"standard input", "stdin.jpg", "-"}};
  const fs::path path(argument);
  if (fs::is_directory(path)) return in_folder(path);
  if (!fs::exists(path)) {
    const bool is_camera = std::all_of(argument.begin(), argument.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (is_camera || argument == "screen" || argument.find("://") != std::string::npos) {
      throw Error(argument + ": cameras, streams and URLs are read by `lookonce predict` alone; save the images first");
    }
    throw Error(argument + ": no such file or folder; expected an image, a video, a folder, a .txt list or -");
  }
  if (lower_suffix(path) == ".txt") return in_list(path);
  return {{argument, path.filename(), path}};
}

/// Puts a number in front of every name if two are equal (ignoring case, as some file systems do). Videos are compared
/// without their suffix, because their results go to NAME/ and NAME.mp4.
void tell_apart(std::vector<Source>& sources) {
  std::set<std::string> places;
  for (const Source& source : sources) {
    const fs::path place = is_video(source.place) ? fs::path(source.place).replace_extension() : source.place;
    places.insert(lower_case(place.string()));
  }
  if (places.size() == sources.size()) return;
  const std::size_t digits = std::to_string(sources.size()).size();
  for (std::size_t index = 0; index < sources.size(); ++index) {
    std::string number = std::to_string(index + 1);
    number.insert(0, digits - number.size(), '0');
    fs::path& place = sources[index].place;
    place = place.parent_path() / (number + "-" + place.filename().string());
  }
}

void number_images(std::vector<Source>& sources) {
  std::set<std::int64_t> numbers;
  const bool all_numbers = std::all_of(sources.begin(), sources.end(), [&](const Source& source) {
    const std::string stem = source.place.stem().string();
    const bool number = !stem.empty() && stem.size() <= 18 &&
                        std::all_of(stem.begin(), stem.end(), [](char c) { return c >= '0' && c <= '9'; });
    return number && numbers.insert(std::stoll(stem)).second;
  });
  std::int64_t next = 1;
  for (Source& source : sources) source.image_id = all_numbers ? std::stoll(source.place.stem().string()) : next++;
}

}  // namespace

bool is_video(const fs::path& path) {
  return kVideoSuffixes.count(lower_suffix(path)) != 0;
}

bool has_video(const std::vector<Source>& sources) {
  return std::any_of(sources.begin(), sources.end(), [](const Source& source) { return is_video(source.path); });
}

std::vector<Source> find_sources(const std::vector<std::string>& arguments) {
  std::vector<Source> sources;
  for (const std::string& argument : arguments) {
    for (Source& source : find_one(argument)) sources.push_back(std::move(source));
  }
  tell_apart(sources);
  number_images(sources);
  return sources;
}

std::vector<Source> as_annotated(std::vector<Source> sources, const fs::path& annotations) {
  const auto document = nlohmann::json::parse(read_file(annotations), nullptr, false);
  if (!document.is_object() || !document.contains("images") || !document["images"].is_array()) {
    throw Error(annotations.string() + R"(: no COCO annotation file; expected JSON with a list "images")");
  }
  std::map<std::string, Source*> by_place;
  for (Source& source : sources) by_place[source.place.generic_string()] = &source;
  std::vector<Source> annotated;
  for (const auto& image : document["images"]) {
    const bool complete = image.is_object() && image.contains("id") && image["id"].is_number_integer() &&
                          image.contains("file_name") && image["file_name"].is_string();
    if (!complete) {
      throw Error(annotations.string() + R"(: an image has no valid "id" or "file_name"; expected integer and string)");
    }
    const auto found = by_place.find(image["file_name"].get<std::string>());
    if (found == by_place.end()) {
      throw Error(annotations.string() + ": lists " + image["file_name"].get<std::string>() +
                  ", which is not among the images of SOURCE; give the annotations' own image folder");
    }
    annotated.push_back(*found->second);
    annotated.back().image_id = image["id"].get<std::int64_t>();
  }
  return annotated;
}

}  // namespace lookonce
