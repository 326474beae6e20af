#pragma once

#include <cstdint>
#include <vector>

namespace lookonce {

/// Left, top, right, bottom in continuous pixels: 0 is the left edge of the first pixel.
struct BoxXyxy {
  float left = 0, top = 0, right = 0, bottom = 0;

  /// 0 for a box whose corners are swapped.
  [[nodiscard]] float area() const {
    const float width = right > left ? right - left : 0.0F;
    const float height = bottom > top ? bottom - top : 0.0F;
    return width * height;
  }
};

/// One object: label is the index of its class name, score 0..1.
struct Detection {
  BoxXyxy box;
  float score = 0;
  std::int32_t label = 0;
};

/// Of one image, best first.
using Detections = std::vector<Detection>;

}  // namespace lookonce
