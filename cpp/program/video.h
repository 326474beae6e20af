#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "lookonce/images.h"

namespace lookonce {

/// One upright frame of a video. seconds: time since the first frame, increasing from frame to frame.
struct VideoFrame {
  Image image;
  double seconds = 0;
};

/// Reads the frames of a video in order, as src/lookonce/prediction/video.py does.
class Video {
 public:
  /// Error: no video, or this program was built without the libraries that read videos.
  explicit Video(const std::filesystem::path& path);
  ~Video();
  Video(const Video&) = delete;
  Video& operator=(const Video&) = delete;

  /// Frames per second, from the header or estimated.
  [[nodiscard]] double rate() const;

  /// The next frame; nullopt at the end. Error: a damaged part; the next call continues after it.
  std::optional<VideoFrame> next();

 private:
  struct Decoder;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace lookonce
