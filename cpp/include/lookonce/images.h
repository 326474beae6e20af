#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lookonce {

/// Upright 8-bit RGB, row after row without gaps.
struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // height * width * 3

  Image() = default;
  Image(int width_pixels, int height_pixels)
      : width(width_pixels),
        height(height_pixels),
        pixels(static_cast<std::size_t>(width_pixels) * static_cast<std::size_t>(height_pixels) * 3) {}
  [[nodiscard]] std::uint8_t* row(int y) { return pixels.data() + static_cast<std::size_t>(y) * width * 3; }
  [[nodiscard]] const std::uint8_t* row(int y) const { return pixels.data() + static_cast<std::size_t>(y) * width * 3; }
};

/// The most pixels of an image that is read, 300 MB decoded, and the most that LOOKONCE_MAX_PIXELS may allow instead.
inline constexpr std::int64_t kMaxPixels = 100'000'000, kMostMaxPixels = 178'956'970;

/// kMaxPixels, or the environment's LOOKONCE_MAX_PIXELS; larger images are refused by their header. Error: no number
/// from 1 to kMostMaxPixels.
std::int64_t max_pixels();

/// The bytes of an image file -> the same pixels as lookonce's Python reader, src/lookonce/data/images.py, gives:
/// EXIF orientation applied, alpha laid on white, 16 bits brought to 8, CMYK by Adobe's convention, first frame.
///
/// JPEG, PNG, WebP. `name` is what errors call it. Error: no image, another kind, truncated, damaged, too
/// large.
Image decode_image(std::string_view bytes, const std::string& name);

Image read_image(const std::filesystem::path& path);

/// EXIF orientation 1..8 undone.
Image turn_upright(Image stored, int orientation);

/// The whole file. Error: missing, unreadable, or larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes = std::uintmax_t{1} << 31U);

/// JPEG of quality 92, or PNG where the suffix says so (".png", any case).
std::string encode_image(const Image& image, const std::string& suffix);

}  // namespace lookonce
