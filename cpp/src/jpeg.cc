#include <turbojpeg.h>

#include <cstring>
#include <memory>
#include <vector>

#include "bytes.h"
#include "exif.h"
#include "formats.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExifStart = "Exif\0\0"sv;
constexpr std::string_view kXmpStart = "http://ns.adobe.com/xap/1.0/\0"sv;

struct JpegHeader {
  int width = 0, height = 0, num_components = 0;
  std::string exif;  // of all APP1 segments that hold some, joined
  std::string_view xmp;
  std::size_t end = 0;  // where coded pixels begin
};

[[noreturn]] void damaged(const std::string& name, const std::string& what) {
  throw Error(name + ": damaged JPEG: " + what + "; copy it again");
}

bool is_frame(unsigned marker) {  // SOF0..SOF15, without DHT, JPG and DAC, which lie between them
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool stands_alone(unsigned marker) {
  return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD9);
}

void read_frame(std::string_view segment, JpegHeader& header, const std::string& name) {
  if (segment.size() < 6) damaged(name, "its frame header is cut short");
  const auto bits = number_at(segment, 0, 1, true);
  if (bits != 8) throw Error(name + ": " + std::to_string(bits) + " bits a channel; JPEG is read with 8");
  header.height = static_cast<int>(number_at(segment, 1, 2, true));
  header.width = static_cast<int>(number_at(segment, 3, 2, true));
  header.num_components = static_cast<int>(number_at(segment, 5, 1, true));
}

void read_app1(std::string_view segment, JpegHeader& header) {
  if (starts_with(segment, kExifStart)) {
    header.exif += header.exif.empty() ? segment : segment.substr(kExifStart.size());
  } else if (starts_with(segment, kXmpStart)) {
    header.xmp = segment.substr(kXmpStart.size());
  }
}

/// Segments up to the first scan.
JpegHeader read_header(std::string_view bytes, const std::string& name) {
  JpegHeader header;
  std::size_t at = 2;
  while (true) {
    while (at < bytes.size() && bytes[at] != '\xff') ++at;  // junk between segments
    while (at < bytes.size() && bytes[at] == '\xff') ++at;  // fill bytes
    if (at >= bytes.size()) throw Error(name + ": truncated JPEG: the file ends within its header; copy it again");
    const auto marker = static_cast<unsigned char>(bytes[at++]);
    if (marker == 0 || stands_alone(marker)) continue;
    if (at + 2 > bytes.size()) throw Error(name + ": truncated JPEG: the file ends within its header; copy it again");
    const auto length = static_cast<std::size_t>(number_at(bytes, at, 2, true));
    if (length < 2 || at + length > bytes.size()) {
      throw Error(name + ": truncated JPEG: a segment reaches beyond the end of the file; copy it again");
    }
    const std::string_view segment = bytes.substr(at + 2, length - 2);
    at += length;
    if (is_frame(marker)) read_frame(segment, header, name);
    if (marker == 0xE1) read_app1(segment, header);
    if (marker == 0xDA) break;
  }
  header.end = at;
  return header;
}

/// Pillow's conversion (libImaging/Convert.c) of CMYK stored inverted, as Adobe's programs store it.
void cmyk_to_rgb(const std::vector<unsigned char>& cmyk, Image& image) {
  for (std::size_t pixel = 0; pixel < cmyk.size() / 4; ++pixel) {
    const unsigned without_black = cmyk[pixel * 4 + 3];
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const unsigned product = (255U - cmyk[pixel * 4 + channel]) * without_black + 128;
      image.pixels[pixel * 3 + channel] =
          static_cast<std::uint8_t>(without_black - (((product >> 8U) + product) >> 8U));
    }
  }
}

using Decompressor = std::unique_ptr<void, decltype(&tjDestroy)>;

void decompress(std::string_view bytes, const JpegHeader& header, int format, unsigned char* pixels,
                const std::string& name) {
  const Decompressor handle(tjInitDecompress(), &tjDestroy);
  if (!handle) throw Error(name + ": no memory for the JPEG decoder");
  const int status = tjDecompress2(handle.get(), as_bytes(bytes), static_cast<unsigned long>(bytes.size()), pixels,
                                   header.width, 0, header.height, format, 0);
  // What libjpeg only warns of (stray bytes, a strange marker) it has repaired; OpenCV takes such images, too.
  if (status != 0 && tjGetErrorCode(handle.get()) != TJERR_WARNING) damaged(name, tjGetErrorStr2(handle.get()));
}

}  // namespace

StoredImage decode_jpeg(std::string_view bytes, const std::string& name) {
  const JpegHeader header = read_header(bytes, name);
  const int components = header.num_components;
  if (components != 1 && components != 3 && components != 4) {
    damaged(name, std::to_string(components) + " channels, expected 1, 3 or 4");
  }
  require_readable_size(header.width, header.height, name);
  const auto orientation = read_orientation(header.exif, header.xmp);
  if (!orientation) damaged(name, "its EXIF data cannot be read");
  // 0xFF is always followed by 0x00 inside coded data, so this end marker cannot occur there by chance.
  if (bytes.find("\xff\xd9", header.end) == std::string_view::npos) {
    throw Error(name + ": truncated JPEG: the file ends after " + std::to_string(bytes.size()) +
                " bytes; copy it again");
  }
  StoredImage stored{Image(header.width, header.height), *orientation};
  if (components == 4) {
    std::vector<unsigned char> cmyk(stored.image.pixels.size() / 3 * 4);
    decompress(bytes, header, TJPF_CMYK, cmyk.data(), name);
    cmyk_to_rgb(cmyk, stored.image);
  } else {
    decompress(bytes, header, TJPF_RGB, stored.image.pixels.data(), name);
  }
  return stored;
}

std::string encode_jpeg(const Image& image, int quality) {
  const std::unique_ptr<void, decltype(&tjDestroy)> handle(tjInitCompress(), &tjDestroy);
  unsigned char* coded = nullptr;
  unsigned long size = 0;
  const int status = handle ? tjCompress2(handle.get(), image.pixels.data(), image.width, 0, image.height,
                                          TJPF_RGB, &coded, &size, TJSAMP_420, quality, 0)
                            : -1;
  const std::unique_ptr<unsigned char, decltype(&tjFree)> owned(coded, &tjFree);
  if (status != 0) throw Error(std::string("cannot write a JPEG: ") + tjGetErrorStr2(handle.get()));
  std::string bytes(size, '\0');
  std::memcpy(bytes.data(), coded, size);
  return bytes;
}

}  // namespace lookonce
