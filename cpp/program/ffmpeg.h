#pragma once

// FFmpeg's libraries, as video.cc and film.cc use them.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <string>

#include "lookonce/pictures.h"

namespace lookonce {

inline std::string explain(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

/// A picture whose last row swscale may read and write a little beyond, as its vector code does.
inline Picture roomy_picture(int width, int height) {
  constexpr std::size_t kRoom = 64;
  Picture picture;
  picture.width = width;
  picture.height = height;
  picture.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3 + kRoom);
  return picture;
}

}  // namespace lookonce
