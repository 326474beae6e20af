#include "lookonce/letterbox.h"

#include <algorithm>
#include <cstring>

#include "resize.h"

namespace lookonce {
namespace {

constexpr std::size_t kChannels = 3;

}  // namespace

BoxXyxy Placement::to_original(const BoxXyxy& box) const {
  const auto width = static_cast<float>(original_width);
  const auto height = static_cast<float>(original_height);
  return {std::clamp((box.left - offset_x) / scale_x, 0.0F, width),
          std::clamp((box.top - offset_y) / scale_y, 0.0F, height),
          std::clamp((box.right - offset_x) / scale_x, 0.0F, width),
          std::clamp((box.bottom - offset_y) / scale_y, 0.0F, height)};
}

std::pair<int, int> letterbox_wh(std::pair<int, int> image_wh, std::pair<int, int> canvas_wh) {
  const auto [width, height] = std::pair<std::int64_t, std::int64_t>(image_wh);
  const auto [canvas_width, canvas_height] = std::pair<std::int64_t, std::int64_t>(canvas_wh);
  if (canvas_width * height <= canvas_height * width) {
    const std::int64_t fitted = (2 * height * canvas_width + width) / (2 * width);
    return {canvas_wh.first, static_cast<int>(std::max<std::int64_t>(1, fitted))};
  }
  const std::int64_t fitted = (2 * width * canvas_height + height) / (2 * height);
  return {static_cast<int>(std::max<std::int64_t>(1, fitted)), canvas_wh.second};
}

Placement fit_into(std::uint8_t* canvas, const Image& image, const Record& record) {
  std::pair<int, int> fitted{record.width, record.height};
  if (record.preprocessing.resize == Resize::letterbox) {
    fitted = letterbox_wh({image.width, image.height}, fitted);
  }
  const int left = (record.width - fitted.first) / 2;
  const int top = (record.height - fitted.second) / 2;
  const std::size_t stride = static_cast<std::size_t>(record.width) * kChannels;
  if (fitted != std::pair<int, int>{record.width, record.height}) {
    std::memset(canvas, record.preprocessing.pad_value, stride * static_cast<std::size_t>(record.height));
  }
  std::uint8_t* corner = canvas + static_cast<std::size_t>(top) * stride + static_cast<std::size_t>(left) * kChannels;
  resize(image, {corner, fitted.first, fitted.second, stride}, record.preprocessing.interpolation);
  // In double precision first, as Python divides.
  return {static_cast<float>(static_cast<double>(fitted.first) / image.width),
          static_cast<float>(static_cast<double>(fitted.second) / image.height),
          static_cast<float>(left),
          static_cast<float>(top),
          image.width,
          image.height};
}

void to_network_input(const std::uint8_t* canvases, int count, const Record& record, float* input) {
  const Preprocessing& how = record.preprocessing;
  const std::size_t num_pixels = static_cast<std::size_t>(record.height) * static_cast<std::size_t>(record.width);
  for (int image = 0; image < count; ++image) {
    for (std::size_t channel = 0; channel < kChannels; ++channel) {
      const std::size_t source = how.color_order == ColorOrder::bgr ? kChannels - 1 - channel : channel;
      const float mean = how.mean[channel];
      const float std = how.std[channel];
      for (std::size_t pixel = 0; pixel < num_pixels; ++pixel) {
        *input++ = (static_cast<float>(canvases[pixel * kChannels + source]) / 255.0F - mean) / std;
      }
    }
    canvases += num_pixels * kChannels;
  }
}

}  // namespace lookonce
