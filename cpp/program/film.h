#pragma once

#include <filesystem>
#include <memory>

#include "lookonce/images.h"

namespace lookonce {

/// Writes an .mp4 file of frames with timestamps; `finish` gives the file its name.
class Film {
 public:
  /// All frames get the size of `first`, which is not yet added; rate: approximate frames per second.
  /// Error: the file cannot be written.
  Film(const std::filesystem::path& path, const Image& first, double rate);
  ~Film();
  Film(const Film&) = delete;
  Film& operator=(const Film&) = delete;

  /// `seconds` must increase. A frame of another size is resized.
  void add(const Image& image, double seconds);
  void finish();

  /// Whether this program can write videos: it has FFmpeg with a supported encoder.
  static bool possible();

 private:
  struct Encoder;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace lookonce
