#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "lookonce/pictures.h"

namespace lookonce {

/// The frames of one video, one after the other.
class Video {
 public:
  /// Error: no video, or this program was built without the libraries that read videos.
  explicit Video(const std::filesystem::path& path);
  ~Video();
  Video(const Video&) = delete;
  Video& operator=(const Video&) = delete;

  /// nullopt at the end.
  std::optional<Picture> next();

 private:
  struct Decoder;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace lookonce
