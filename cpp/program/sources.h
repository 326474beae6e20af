#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lookonce {

/// One picture file, or one video, that has not been read yet.
struct Source {
  std::string name;             // what errors and result files call it
  std::filesystem::path place;  // under which results are kept: relative, different for each source
  std::filesystem::path path;   // "-": standard input
  std::int64_t image_id = 0;    // COCO's; of a video, that of its first frame
};

bool is_video(const std::filesystem::path& path);
bool has_video(const std::vector<Source>& sources);

/// The pictures that the arguments name, as src/lookonce/prediction/sources.py finds them: folders in the order of
/// names, lists in theirs. COCO's image_id is the number a name is (000000000139.jpg) if all are, else 1, 2, 3 ...
/// Error: nothing there.
std::vector<Source> find_sources(const std::vector<std::string>& arguments);

/// Those that a COCO annotation file names, in its order and under its ids. Error: one that was not found.
std::vector<Source> as_annotated(std::vector<Source> sources, const std::filesystem::path& annotations);

}  // namespace lookonce
