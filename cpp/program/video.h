#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "lookonce/pictures.h"

namespace lookonce {

/// One picture of a video, upright, and when it is shown: seconds since the first, rising from frame to frame.
struct VideoFrame {
  Picture picture;
  double seconds = 0;
};

/// The frames of one video, one after the other, as src/lookonce/prediction/video.py reads them.
class Video {
 public:
  /// Error: no video, or this program was built without the libraries that read videos.
  explicit Video(const std::filesystem::path& path);
  ~Video();
  Video(const Video&) = delete;
  Video& operator=(const Video&) = delete;

  /// Frames a second, as the file says or its length suggests.
  [[nodiscard]] double rate() const;

  /// nullopt at the end. Error: a damaged part; the next call goes on behind it.
  std::optional<VideoFrame> next();

 private:
  struct Decoder;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace lookonce
