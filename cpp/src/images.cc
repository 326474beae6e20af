#include "lookonce/images.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "bytes.h"
#include "formats.h"
#include "lookonce/errors.h"
#include "lookonce/text.h"

namespace lookonce {
namespace {

using namespace std::string_view_literals;

constexpr int kJpegQuality = 92;
constexpr const char* kPixelsVariable = "LOOKONCE_MAX_PIXELS";

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    std::array<char, 8> spelled{};
    const bool plain = byte >= ' ' && byte <= '~' && byte != '\\';
    std::snprintf(spelled.data(), spelled.size(), plain ? "%c" : "\\x%02x",
                  plain ? static_cast<int>(byte) : static_cast<unsigned char>(byte));
    text += spelled.data();
  }
  return text;
}

[[noreturn]] void refuse(std::string_view bytes, const std::string& name) {
  if (bytes.empty()) throw Error(name + ": is empty (0 bytes); expected an image");
  const bool avif = bytes.size() >= 12 && bytes.substr(4, 7) == "ftypavi";  // avif, or avis: a sequence
  for (const std::string_view start : {"GIF8"sv, "II*"sv, "MM"sv, "II+"sv, "BM"sv, "P1"sv, "P2"sv, "P3"sv, "P4"sv,
                                       "P5"sv, "P6"sv, "\0\0\0\x0cjP  "sv, "\xff\x4f\xff\x51"sv}) {
    if (avif || starts_with(bytes, start)) {
      throw Error(name +
                  ": BMP, GIF, PNM, TIFF, AVIF and JPEG 2000 are read by `lookonce predict` alone; save it as PNG or "
                  "JPEG");
    }
  }
  throw Error(name + ": is not an image (it starts with '" + printable(bytes.substr(0, 8)) +
              "'); expected JPEG, PNG or WebP");
}

StoredImage decode_stored(std::string_view bytes, const std::string& name) {
  if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, name);
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, name);
  if (starts_with(bytes, "RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") return decode_webp(bytes, name);
  refuse(bytes, name);
}

}  // namespace

std::int64_t max_pixels() {
  const char* const given = std::getenv(kPixelsVariable);
  const std::string_view text = given == nullptr ? "" : given;
  if (text.empty()) return kMaxPixels;
  std::int64_t pixels = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), pixels);
  if (problem != std::errc() || end != text.data() + text.size() || pixels < 1 || pixels > kMostMaxPixels) {
    throw Error(std::string(kPixelsVariable) + ": '" + printable(text) + "'; expected a number of pixels from 1 to " +
                std::to_string(kMostMaxPixels) + "; set it anew, or unset it for " + std::to_string(kMaxPixels));
  }
  return pixels;
}

void require_readable_size(std::int64_t width, std::int64_t height, const std::string& name) {
  if (width <= 0 || height <= 0) throw Error(name + ": damaged image: its header gives it no pixels; copy it again");
  const std::int64_t limit = max_pixels();
  if (width > limit / height) {  // the product of two 32-bit sides may not fit into 64 bits
    throw Error(name + ": " + std::to_string(width) + "x" + std::to_string(height) + " pixels; expected at most " +
                std::to_string(limit) + " in all; resize it, or set " + kPixelsVariable);
  }
}

void lay_on_white(const std::uint8_t* rgba, Image& image) {
  constexpr unsigned kExtraBits = 7;  // Pillow's libImaging/AlphaComposite.c, for a background of 255 everywhere
  for (std::size_t pixel = 0; pixel < image.pixels.size() / 3; ++pixel, rgba += 4) {
    const unsigned share = rgba[3] << kExtraBits;
    const unsigned rest = (255U << kExtraBits) - share;
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const unsigned sum = rgba[channel] * share + 255U * rest + (0x80U << kExtraBits);
      image.pixels[pixel * 3 + channel] = static_cast<std::uint8_t>((((sum >> 8U) + sum) >> 8U) >> kExtraBits);
    }
  }
}

Image turn_upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const bool swaps_sides = orientation >= 5;
  const bool flips_rows = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool flips_columns = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  Image upright(swaps_sides ? stored.height : stored.width, swaps_sides ? stored.width : stored.height);
  for (int y = 0; y < upright.height; ++y) {
    std::uint8_t* target = upright.row(y);
    const int turned_y = flips_rows ? upright.height - 1 - y : y;
    for (int x = 0; x < upright.width; ++x) {
      const int turned_x = flips_columns ? upright.width - 1 - x : x;
      const std::uint8_t* source = swaps_sides ? stored.row(turned_x) + static_cast<std::ptrdiff_t>(turned_y) * 3
                                               : stored.row(turned_y) + static_cast<std::ptrdiff_t>(turned_x) * 3;
      target = std::copy_n(source, 3, target);
    }
  }
  return upright;
}

Image decode_image(std::string_view bytes, const std::string& name) {
  StoredImage stored = decode_stored(bytes, name);
  return turn_upright(std::move(stored.image), stored.orientation);
}

Image read_image(const std::filesystem::path& path) {
  return decode_image(read_file(path), path.string());
}

std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes) {
  std::error_code problem;
  if (!std::filesystem::exists(path, problem)) throw Error(path.string() + ": no such file");
  const std::uintmax_t size = std::filesystem::file_size(path, problem);
  if (problem) throw Error(path.string() + ": cannot be read: " + problem.message());
  if (size > max_bytes) {
    throw Error(path.string() + ": " + std::to_string(size) + " bytes; at most " + std::to_string(max_bytes) +
                " are read");
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes(size, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) throw Error(path.string() + ": cannot be read");
  return bytes;
}

std::string encode_image(const Image& image, const std::string& suffix) {
  return lower_case(suffix) == ".png" ? encode_png(image) : encode_jpeg(image, kJpegQuality);
}

}  // namespace lookonce
