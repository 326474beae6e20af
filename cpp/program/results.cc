#include "results.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot_write(const fs::path& path, const std::string& why) {
  throw Error(path.string() + ": cannot write there (" + why + "); choose another folder with --output");
}

std::string numbers(std::initializer_list<double> values) {
  std::string text = "[";
  for (const double value : values) text += (text.size() > 1 ? ", " : "") + json_number(value);
  return text + "]";
}

/// Left, top, width, height, computed in double precision as the Python program does.
std::string bbox(const BoxXyxy& box) {
  const double left = box.left;
  const double top = box.top;
  return numbers({left, top, box.right - left, box.bottom - top});
}

std::string coco_row(const PictureResult& result, const Detection& one, const Record& record) {
  return R"({"image_id": )" + std::to_string(result.image_id) + R"(, "category_id": )" +
         std::to_string(record.category_ids[static_cast<std::size_t>(one.label)]) + R"(, "bbox": )" + bbox(one.box) +
         R"(, "score": )" + json_number(one.score) + "}";
}

std::string detection_json(const Detection& one, const Record& record) {
  return R"({"class": )" + json_string(record.class_names[static_cast<std::size_t>(one.label)]) + R"(, "label": )" +
         std::to_string(one.label) + R"(, "score": )" + json_number(one.score) + R"(, "box_xyxy": )" +
         numbers({one.box.left, one.box.top, one.box.right, one.box.bottom}) + "}";
}

std::string moment(const PictureResult& result) {
  if (result.frame < 0) return "";
  return R"(, "frame": )" + std::to_string(result.frame) + R"(, "seconds": )" +
         json_number(std::round(result.seconds * 1e6) / 1e6);
}

std::string picture_line(const PictureResult& result, const Record& record) {
  std::string line = R"({"file": )" + json_string(result.name);
  if (!result.error.empty()) return line + R"(, "error": )" + json_string(result.error) + "}\n";
  line += R"(, "image_id": )" + std::to_string(result.image_id) + moment(result) + R"(, "width": )" +
          std::to_string(result.width) + R"(, "height": )" + std::to_string(result.height) + R"(, "detections": [)";
  for (std::size_t index = 0; index < result.detections.size(); ++index) {
    line += (index == 0 ? "" : ", ") + detection_json(result.detections[index], record);
  }
  return line + "]}\n";
}

}  // namespace

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_number(double value) {
  std::array<char, 32> text{};
  const auto [end, problem] = std::to_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() ? std::string(text.data(), end) : "0";
}

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
  if (!file_) cannot_write(path_, "the disk is full?");
  file_.close();
  std::error_code problem;
  fs::rename(temporary_, path_, problem);
  if (problem) cannot_write(path_, problem.message());
}

ResultFiles::ResultFiles(const fs::path& folder, const Record& record)
    : record_(record), coco_(folder / "results.json"), lines_(folder / "detections.jsonl") {
  coco_.write("[");
}

void ResultFiles::add(const PictureResult& result) {
  lines_.write(picture_line(result, record_));
  for (const Detection& one : result.detections) {
    coco_.write((first_ ? "\n" : ",\n") + coco_row(result, one, record_));
    first_ = false;
  }
}

void ResultFiles::finish() {
  coco_.write(first_ ? "]\n" : "\n]\n");
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
  if (!file) cannot_write(path, "no permission, or no space left");
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
