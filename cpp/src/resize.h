#pragma once

#include <cstddef>
#include <cstdint>

#include "lookonce/images.h"
#include "lookonce/record.h"

namespace lookonce {

/// A rectangle of RGB pixels inside a larger image: `stride` bytes from row to row.
struct PixelView {
  std::uint8_t* pixels;
  int width, height;
  std::size_t stride;

  [[nodiscard]] std::uint8_t* row(int y) const { return pixels + static_cast<std::size_t>(y) * stride; }
};

/// The image at the size of `target`, bit for bit what cv2.resize of OpenCV gives for 8-bit images.
///
/// OpenCV's own arithmetic (modules/imgproc/src/resize.cpp) is followed: linear weights in 11 bits, sums in 32-bit
/// integers, "area" in single precision without fused operations.
void resize(const Image& image, const PixelView& target, Interpolation interpolation);

}  // namespace lookonce
