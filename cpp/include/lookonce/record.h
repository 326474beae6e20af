#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lookonce {

enum class Resize { letterbox, stretch };
/// Not "cubic": OpenCV's own builds differ in it by a grey level, so no program could give the pixels of training.
enum class Interpolation { linear, area, nearest };
enum class ColorOrder { rgb, bgr };
enum class SizeRule { exponential, square };

/// Image (uint8 RGB) -> network input: resize, then (pixel / 255 - mean) / std per channel.
struct Preprocessing {
  Resize resize = Resize::letterbox;
  std::uint8_t pad_value = 114;
  Interpolation interpolation = Interpolation::linear;
  ColorOrder color_order = ColorOrder::rgb;
  std::array<float, 3> mean{0, 0, 0};
  std::array<float, 3> std{1, 1, 1};
};

/// What turns decoded boxes into detections. per_class_score: class name -> lowest score shown, where it differs.
struct Thresholds {
  float score = 0.25F;
  float iou = 0.5F;
  int max_detections = 300;
  bool multi_label = true;  // false: a box is a candidate for its best class alone
  bool agnostic = false;    // true: a box is dropped by a better one of any class
  std::map<std::string, float> per_class_score;
};

struct Anchor {
  float width = 0, height = 0;  // pixels of the network's input
};

/// One output map of the network. center_scale and size_rule are its dialect's: see decode.h.
struct HeadRecord {
  int stride = 0;
  float center_scale = 1;
  std::vector<Anchor> anchors;
};

/// One detector, described: the JSON that every exported file carries, checked.
struct Record {
  std::string dialect;
  SizeRule size_rule = SizeRule::exponential;
  std::vector<std::string> class_names;
  std::vector<std::int64_t> category_ids;  // the data set's own id of each class, for COCO results
  std::vector<HeadRecord> heads;           // in the order of the network's outputs
  int height = 0, width = 0;               // of the network's input
  Preprocessing preprocessing;
  Thresholds thresholds;

  [[nodiscard]] int num_classes() const { return static_cast<int>(class_names.size()); }
  [[nodiscard]] int channels(const HeadRecord& head) const {
    return static_cast<int>(head.anchors.size()) * (5 + num_classes());
  }
};

/// The name under which an exported file carries its record (src/lookonce/runtimes/onnx.py).
inline constexpr std::string_view kRecordKey = "lookonce_record";

/// `source` is what errors call it. Error: no JSON, or a value that is missing, of another kind or out of range.
Record parse_record(std::string_view json, const std::string& source);

}  // namespace lookonce
