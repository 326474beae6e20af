// Replaces video.cc and film.cc in a build without FFmpeg's libraries.

#include "film.h"
#include "lookonce/errors.h"
#include "video.h"

namespace lookonce {

struct Video::Decoder {};

Video::Video(const std::filesystem::path& path) {
  throw Error(path.string() +
              ": this program was built without video; rebuild it with libav*-dev and libswscale-dev");
}

Video::~Video() = default;

double Video::rate() const {
  return 0;
}

std::optional<VideoFrame> Video::next() {
  return std::nullopt;
}

struct Film::Encoder {};

Film::Film(const std::filesystem::path& /*path*/, const Image& /*first*/, double /*rate*/) {}

Film::~Film() = default;

void Film::add(const Image& /*image*/, double /*seconds*/) {}

void Film::finish() {}

bool Film::possible() {
  return true;  // no frame will come
}

}  // namespace lookonce
