#pragma once

// The readers behind lookonce/pictures.h, one a kind of file. `bytes` begins with that kind's magic number; pixels come
// out as they are stored, not turned upright.

#include <string>
#include <string_view>

#include "lookonce/pictures.h"

namespace lookonce {

/// EXIF orientation 1..8 that is still to be applied.
struct StoredPicture {
  Picture picture;
  int orientation = 1;
};

StoredPicture decode_jpeg(std::string_view bytes, const std::string& name);
StoredPicture decode_png(std::string_view bytes, const std::string& name);
StoredPicture decode_webp(std::string_view bytes, const std::string& name);
StoredPicture decode_bmp(std::string_view bytes, const std::string& name);
StoredPicture decode_pnm(std::string_view bytes, const std::string& name);

std::string encode_jpeg(const Picture& picture, int quality);
std::string encode_png(const Picture& picture);

/// Error when width * height is over kMaxPixels.
void require_readable_size(std::int64_t width, std::int64_t height, const std::string& name);

/// `rgba` (4 bytes a pixel) on white, with the rounding of Pillow's alpha_composite.
void lay_on_white(const std::uint8_t* rgba, Picture& picture);

}  // namespace lookonce
