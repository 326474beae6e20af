#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lookonce/detections.h"
#include "lookonce/record.h"

namespace lookonce {

/// Detections of one image, boxes in its pixels. `error`: why it could not be read; empty if it was read.
/// For a video frame, `name` is the video's; `frame`: 0-based index, -1 for an image; `seconds`: time since its start.
struct ImageResult {
  std::string name;
  std::int64_t image_id = 0;
  int width = 0, height = 0;
  Detections detections;
  std::string error;
  int frame = -1;
  double seconds = 0;
};

/// A file written under a temporary name; `finish` renames it. Without `finish` nothing is left.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const std::string& text);
  /// Error: no space, no permission.
  void finish();

 private:
  std::filesystem::path path_, temporary_;
  std::ofstream file_;
};

/// results.json (COCO's list of boxes) and detections.jsonl (one image per line), written image by image.
class ResultFiles {
 public:
  ResultFiles(const std::filesystem::path& folder, const Record& record);

  void add(const ImageResult& result);
  void finish();

 private:
  void append_line(const ImageResult& result);
  void append_rows(const ImageResult& result);

  std::vector<std::int64_t> category_ids_;
  std::vector<std::string> class_names_;  // as JSON
  NewFile coco_, lines_;
  bool first_row_ = true;
  std::string text_;  // of one image; its memory is reused
};

/// Writes a whole file and creates its folder.
void write_whole(const std::filesystem::path& path, const std::string& bytes);

/// Creates a new folder RUNS/NAME-K, K from 1; two processes never get the same one.
std::filesystem::path make_run_folder(const std::filesystem::path& runs, const std::string& name);

}  // namespace lookonce
