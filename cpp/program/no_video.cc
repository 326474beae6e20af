// Stands in for video.cc where the libraries that read videos were not found.

#include "lookonce/errors.h"
#include "video.h"

namespace lookonce {

struct Video::Decoder {};

Video::Video(const std::filesystem::path& path) {
  throw Error(path.string() + ": this program was built without video (libavformat-dev libavcodec-dev libswscale-dev)");
}

Video::~Video() = default;

std::optional<Picture> Video::next() {
  return std::nullopt;
}

}  // namespace lookonce
