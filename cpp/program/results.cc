#include "results.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot_write(const fs::path& path, const std::string& why) {
  throw Error(path.string() + ": cannot be written (" + why + "); choose another folder with --output");
}

void add(std::string& text, std::string_view part) {
  text += part;
}

/// The shortest decimal that reads back as the same number.
template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
void add(std::string& text, Number value) {
  std::array<char, 32> digits{};
  text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

using Four = std::array<double, 4>;

void add(std::string& text, const Four& values) {
  for (std::size_t index = 0; index < values.size(); ++index) {
    text += index == 0 ? "[" : ", ";
    add(text, values[index]);
  }
  text += ']';
}

template <typename... Parts>
void append(std::string& text, const Parts&... parts) {
  (add(text, parts), ...);
}

/// Left, top, width, height, computed in double precision as the Python program does.
Four bbox(const BoxXyxy& box) {
  const double left = box.left;
  const double top = box.top;
  return {left, top, box.right - left, box.bottom - top};
}

/// A JSON string; bytes that are not UTF-8 become U+FFFD.
std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

NewFile::NewFile(fs::path path)
    : path_(std::move(path)), temporary_(path_.parent_path() / ("." + path_.filename().string() + ".new")) {
  file_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!file_) cannot_write(path_, "no permission, or no such folder");
}

NewFile::~NewFile() {
  std::error_code ignored;
  if (file_.is_open()) fs::remove(temporary_, ignored);
}

void NewFile::write(const std::string& text) {
  file_ << text;
}

void NewFile::finish() {
  file_.flush();
  if (!file_) cannot_write(path_, "no space left on the disk?");
  file_.close();
  std::error_code problem;
  fs::rename(temporary_, path_, problem);
  if (problem) cannot_write(path_, problem.message());
}

ResultFiles::ResultFiles(const fs::path& folder, const Record& record)
    : category_ids_(record.category_ids), coco_(folder / "results.json"), lines_(folder / "detections.jsonl") {
  for (const std::string& name : record.class_names) class_names_.push_back(json_string(name));
  coco_.write("[");
}

void ResultFiles::add(const ImageResult& result) {
  text_.clear();
  append_line(result);
  lines_.write(text_);
  text_.clear();
  append_rows(result);
  coco_.write(text_);
}

void ResultFiles::append_line(const ImageResult& result) {
  append(text_, R"({"file": )", json_string(result.name));
  if (!result.error.empty()) return append(text_, R"(, "error": )", json_string(result.error), "}\n");
  append(text_, R"(, "image_id": )", result.image_id);
  if (result.frame >= 0) {
    append(text_, R"(, "frame": )", result.frame, R"(, "seconds": )", std::round(result.seconds * 1e6) / 1e6);
  }
  append(text_, R"(, "width": )", result.width, R"(, "height": )", result.height, R"(, "detections": [)");
  bool first = true;
  for (const Detection& one : result.detections) {
    append(text_, std::exchange(first, false) ? "" : ", ", R"({"class": )",
           class_names_[static_cast<std::size_t>(one.label)], R"(, "label": )", one.label, R"(, "score": )",
           static_cast<double>(one.score), R"(, "box_xyxy": )",
           Four{one.box.left, one.box.top, one.box.right, one.box.bottom}, "}");
  }
  append(text_, "]}\n");
}

void ResultFiles::append_rows(const ImageResult& result) {
  for (const Detection& one : result.detections) {
    append(text_, std::exchange(first_row_, false) ? "\n" : ",\n", R"({"image_id": )", result.image_id,
           R"(, "category_id": )", category_ids_[static_cast<std::size_t>(one.label)], R"(, "bbox": )", bbox(one.box),
           R"(, "score": )", static_cast<double>(one.score), "}");
  }
}

void ResultFiles::finish() {
  coco_.write(first_row_ ? "]\n" : "\n]\n");
  coco_.finish();
  lines_.finish();
}

void write_whole(const fs::path& path, const std::string& bytes) {
  std::error_code problem;
  fs::create_directories(path.parent_path(), problem);
  if (problem) cannot_write(path, problem.message());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) cannot_write(path, "no permission, or no space left on the disk");
}

fs::path make_run_folder(const fs::path& runs, const std::string& name) {
  std::error_code problem;
  fs::create_directories(runs, problem);
  for (int number = 1; !problem; ++number) {
    fs::path folder = runs / (name + "-" + std::to_string(number));
    if (fs::create_directory(folder, problem)) return folder;
  }
  cannot_write(runs, problem.message());
}

}  // namespace lookonce
