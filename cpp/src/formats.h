#pragma once

// The readers behind lookonce/images.h, one a kind of file. `bytes` begins with that kind's magic number; pixels come
// out as they are stored, not turned upright.

#include <string>
#include <string_view>

#include "lookonce/images.h"

namespace lookonce {

/// EXIF orientation 1..8 that is still to be applied.
struct StoredImage {
  Image image;
  int orientation = 1;
};

StoredImage decode_jpeg(std::string_view bytes, const std::string& name);
StoredImage decode_png(std::string_view bytes, const std::string& name);
StoredImage decode_webp(std::string_view bytes, const std::string& name);

std::string encode_jpeg(const Image& image, int quality);
std::string encode_png(const Image& image);

/// Before memory is taken for pixels. Error: none, or over max_pixels().
void require_readable_size(std::int64_t width, std::int64_t height, const std::string& name);

/// `rgba` (4 bytes a pixel) on white, with the rounding of Pillow's alpha_composite.
void lay_on_white(const std::uint8_t* rgba, Image& image);

}  // namespace lookonce
