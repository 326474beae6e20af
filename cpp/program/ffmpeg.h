#pragma once

// FFmpeg's libraries, as video.cc and film.cc use them.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <string>

#include "lookonce/images.h"

namespace lookonce {

inline std::string explain(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

/// An image whose last row swscale may read and write a little beyond, as its vector code does.
inline Image roomy_image(int width, int height) {
  constexpr std::size_t kRoom = 64;
  Image image;
  image.width = width;
  image.height = height;
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3 + kRoom);
  return image;
}

}  // namespace lookonce
