#pragma once

#include <cstdint>
#include <utility>

#include "lookonce/detections.h"
#include "lookonce/images.h"
#include "lookonce/record.h"

namespace lookonce {

/// Where a whole image lies on a canvas: canvas = original * scale + offset, in continuous pixels.
struct Placement {
  float scale_x = 1, scale_y = 1;
  float offset_x = 0, offset_y = 0;
  int original_width = 0, original_height = 0;

  /// Pixels of the canvas -> pixels of the original, clipped to it.
  [[nodiscard]] BoxXyxy to_original(const BoxXyxy& box) const;
};

/// Largest (width, height) with the image's aspect ratio inside the canvas; halves round up, at least 1 pixel a side.
std::pair<int, int> letterbox_wh(std::pair<int, int> image_wh, std::pair<int, int> canvas_wh);

/// Image -> canvas (height, width, 3) of the record's size; every byte of it is written.
Placement fit_into(std::uint8_t* canvas, const Image& image, const Record& record);

/// Canvases (count, height, width, 3) uint8 RGB -> (count, 3, height, width) normalised, in the record's colour order:
/// what files exported with --no-preprocess take.
void to_network_input(const std::uint8_t* canvases, int count, const Record& record, float* input);

}  // namespace lookonce
