#pragma once

#include <filesystem>
#include <memory>

#include "lookonce/pictures.h"

namespace lookonce {

/// An .mp4 file of frames with their times; it is there under its name when it is finished, and not without.
class Film {
 public:
  /// The pictures' size is that of the first, which is still to be added; rate: frames a second, about.
  /// Error: cannot be written there.
  Film(const std::filesystem::path& path, const Picture& first, double rate);
  ~Film();
  Film(const Film&) = delete;
  Film& operator=(const Film&) = delete;

  /// Seconds rise. A frame of another size is resized.
  void add(const Picture& picture, double seconds);
  void finish();

  /// Whether this program can write films: FFmpeg is there, with one of the encoders that are looked for.
  static bool possible();

 private:
  struct Encoder;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace lookonce
