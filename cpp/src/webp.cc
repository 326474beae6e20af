#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <vector>

#include "bytes.h"
#include "exif.h"
#include "formats.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

[[noreturn]] void damaged(const std::string& name) {
  throw Error(name + ": damaged WebP: its pixels cannot be decoded; copy it again");
}

std::string_view chunk(const WebPDemuxer* demuxer, const char* kind) {
  WebPChunkIterator found;
  std::string_view content;
  if (WebPDemuxGetChunk(demuxer, kind, 1, &found) != 0) {
    // Points into the file's own bytes, which outlive the iterator.
    content = {reinterpret_cast<const char*>(found.chunk.bytes), found.chunk.size};
  }
  WebPDemuxReleaseChunkIterator(&found);
  return content;
}

int orientation_in(std::string_view bytes, const std::string& name) {
  const WebPData data{as_bytes(bytes), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data), &WebPDemuxDelete);
  if (!demuxer) damaged(name);
  const auto orientation = read_orientation(chunk(demuxer.get(), "EXIF"), chunk(demuxer.get(), "XMP "));
  if (!orientation) throw Error(name + ": damaged WebP: its EXIF data cannot be read; copy it again");
  return *orientation;
}

/// The first frame as the viewer sees it, on the whole canvas.
void decode_animation(std::string_view bytes, bool has_alpha, Image& image, const std::string& name) {
  const WebPData data{as_bytes(bytes), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(WebPAnimDecoderNew(&data, nullptr),
                                                                                   &WebPAnimDecoderDelete);
  std::uint8_t* rgba = nullptr;
  int milliseconds = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &rgba, &milliseconds) == 0) damaged(name);
  if (has_alpha) return lay_on_white(rgba, image);
  for (std::size_t pixel = 0; pixel < image.pixels.size() / 3; ++pixel) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      image.pixels[pixel * 3 + channel] = rgba[pixel * 4 + channel];
    }
  }
}

}  // namespace

StoredImage decode_webp(std::string_view bytes, const std::string& name) {
  if (bytes.size() < 8 || bytes.size() - 8 < number_at(bytes, 4, 4, false)) {
    throw Error(name + ": truncated WebP: the file ends after " + std::to_string(bytes.size()) +
                " bytes; copy it again");
  }
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(as_bytes(bytes), bytes.size(), &features) != VP8_STATUS_OK) damaged(name);
  require_readable_size(features.width, features.height, name);
  const int orientation = orientation_in(bytes, name);
  StoredImage stored{Image(features.width, features.height), orientation};
  Image& image = stored.image;
  if (features.has_animation != 0) {
    decode_animation(bytes, features.has_alpha != 0, image, name);
  } else if (features.has_alpha != 0) {
    std::vector<std::uint8_t> rgba(image.pixels.size() / 3 * 4);
    if (WebPDecodeRGBAInto(as_bytes(bytes), bytes.size(), rgba.data(), rgba.size(), image.width * 4) == nullptr) {
      damaged(name);
    }
    lay_on_white(rgba.data(), image);
  } else if (WebPDecodeRGBInto(as_bytes(bytes), bytes.size(), image.pixels.data(), image.pixels.size(),
                               image.width * 3) == nullptr) {
    damaged(name);
  }
  return stored;
}

}  // namespace lookonce
