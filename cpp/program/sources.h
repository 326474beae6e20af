#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lookonce {

/// One image file or video that has not been read yet.
struct Source {
  std::string name;             // in errors and result files
  std::filesystem::path place;  // relative path for its results, unique
  std::filesystem::path path;   // "-": standard input
  std::int64_t image_id = 0;    // as in COCO; for a video, that of its first frame
};

bool is_video(const std::filesystem::path& path);
bool has_video(const std::vector<Source>& sources);

/// The images and videos of the arguments, as in src/lookonce/prediction/sources.py: folders sorted by name, lists in
/// their order. image_id: the numeric name (000000000139.jpg) if all names are numeric, else 1, 2, 3 ...
/// Error: there are none.
std::vector<Source> find_sources(const std::vector<std::string>& arguments);

/// The sources that a COCO annotation file lists, in its order and with its ids. Error: one is missing.
std::vector<Source> as_annotated(std::vector<Source> sources, const std::filesystem::path& annotations);

}  // namespace lookonce
