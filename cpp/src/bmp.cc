#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "bytes.h"
#include "formats.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

constexpr std::size_t kFileHeader = 14;
constexpr std::uint32_t kRaw = 0, kBitFields = 3;

[[noreturn]] void damaged(const std::string& name, const std::string& why) {
  throw Error(name + ": damaged BMP: " + why + "; copy it again");
}

[[noreturn]] void unknown(const std::string& name, const std::string& what) {
  throw Error(name + ": a BMP with " + what + " is not read; save it as PNG");
}

std::uint32_t at(std::string_view bytes, std::size_t offset, unsigned size = 4) {
  return static_cast<std::uint32_t>(number_at(bytes, offset, size, false));
}

/// Where each of a pixel's colours lies in its bytes; -1: there is no alpha.
struct ByteOrder {
  int red = 2, green = 1, blue = 0, alpha = -1;
};

struct Masks {
  std::uint32_t red = 0, green = 0, blue = 0, alpha = 0;
  bool operator==(const Masks& other) const {
    return red == other.red && green == other.green && blue == other.blue && alpha == other.alpha;
  }
};

struct Header {
  std::size_t size = 0, pixels_at = 0;
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  unsigned bits = 0;
  std::uint32_t compression = kRaw, num_colors = 0;
  std::size_t color_size = 4;

  [[nodiscard]] std::size_t stride() const { return ((static_cast<std::size_t>(width) * bits + 31) >> 3U) & ~3ULL; }
  [[nodiscard]] std::size_t row_size() const { return (static_cast<std::size_t>(width) * bits + 7) / 8; }
};

Header read_header(std::string_view bytes, const std::string& name) {
  constexpr std::array<std::uint32_t, 7> kSizes{12, 40, 52, 56, 64, 108, 124};
  if (bytes.size() < kFileHeader + 4) damaged(name, "the file ends early");
  Header header;
  header.size = at(bytes, kFileHeader);
  if (std::find(kSizes.begin(), kSizes.end(), header.size) == kSizes.end()) {
    unknown(name, "a header of " + std::to_string(header.size) + " bytes");
  }
  if (bytes.size() < kFileHeader + header.size) damaged(name, "the file ends early");
  const std::string_view body = bytes.substr(kFileHeader);
  if (header.size == 12) {
    header.width = at(body, 4, 2);
    header.height = at(body, 6, 2);
    header.bits = at(body, 10, 2);
    header.color_size = 3;
  } else {
    header.width = at(body, 4);
    header.top_down = body[11] == '\xff';
    header.height = header.top_down ? (std::int64_t{1} << 32) - at(body, 8) : at(body, 8);
    header.bits = at(body, 14, 2);
    header.compression = at(body, 16);
    header.num_colors = at(body, 32);
  }
  if (header.num_colors == 0) header.num_colors = header.bits <= 8 ? 1U << header.bits : 1;
  header.pixels_at = at(bytes, 10);
  return header;
}

/// The layouts that Pillow knows (BmpImagePlugin.py); nullopt for another.
std::optional<ByteOrder> byte_order_of(const Masks& masks) {
  constexpr std::uint32_t k0 = 0xff, k1 = 0xff00, k2 = 0xff0000, k3 = 0xff000000;
  static const std::vector<std::pair<Masks, ByteOrder>> kKnown{
      {{k2, k1, k0, 0}, {2, 1, 0, -1}}, {{k3, k2, k1, 0}, {3, 2, 1, -1}}, {{k3, k1, k0, 0}, {3, 1, 0, -1}},
      {{k3, k2, k1, k0}, {3, 2, 1, 0}}, {{k0, k1, k2, k3}, {0, 1, 2, 3}}, {{k2, k1, k0, k3}, {2, 1, 0, 3}},
      {{k3, k1, k0, k2}, {3, 1, 0, 2}}, {{0, 0, 0, 0}, {2, 1, 0, 3}}};
  for (const auto& [known, order] : kKnown) {
    if (known == masks) return order;
  }
  return std::nullopt;
}

class BmpReader {
 public:
  BmpReader(std::string_view bytes, const std::string& name)
      : bytes_(bytes), name_(name), header_(read_header(bytes, name)), after_header_(kFileHeader + header_.size) {}

  StoredImage read() {
    if (header_.compression != kRaw && header_.compression != kBitFields) unknown(name_, "compressed pixels");
    constexpr std::array<unsigned, 6> kDepths{1, 4, 8, 16, 24, 32};
    if (std::find(kDepths.begin(), kDepths.end(), header_.bits) == kDepths.end() ||
        (header_.compression == kBitFields && header_.bits <= 8)) {
      unknown(name_, std::to_string(header_.bits) + " bits of this kind");
    }
    require_readable_size(header_.width, header_.height, name_);
    if (header_.compression == kBitFields) read_masks();
    if (header_.bits <= 8) read_palette();
    if (header_.pixels_at == 0) header_.pixels_at = after_header_;
    const std::size_t rows = static_cast<std::size_t>(header_.height) - 1;
    if (bytes_.size() < header_.pixels_at ||
        bytes_.size() - header_.pixels_at < rows * header_.stride() + header_.row_size()) {
      throw Error(name_ + ": truncated BMP: the file ends after " + std::to_string(bytes_.size()) +
                  " bytes; copy it again");
    }
    StoredImage stored;
    stored.image = Image(static_cast<int>(header_.width), static_cast<int>(header_.height));
    order_.alpha < 0 ? read_rows(stored.image) : read_rows_with_alpha(stored.image);
    return stored;
  }

 private:
  std::string_view take(std::size_t size) {
    const std::string_view taken = bytes_.substr(std::min(after_header_, bytes_.size()), size);
    after_header_ += taken.size();
    return taken;
  }

  void read_masks() {
    const bool inside = header_.size >= 52;
    const std::string_view words = inside ? bytes_.substr(kFileHeader + 40, header_.size - 40) : take(12);
    if (words.size() < 12) damaged(name_, "the file ends early");
    Masks masks{at(words, 0), at(words, 4), at(words, 8), 0};
    if (inside && words.size() >= 16) masks.alpha = at(words, 12);
    if (header_.bits == 32) {
      const auto order = byte_order_of(masks);
      if (!order) unknown(name_, "colours in such places");
      order_ = *order;
      return;
    }
    masks.alpha = 0;
    const bool is_565 = masks == Masks{0xf800, 0x7e0, 0x1f, 0};
    if (header_.bits == 16 && (is_565 || masks == Masks{0x7c00, 0x3e0, 0x1f, 0})) {
      green_bits_ = is_565 ? 6 : 5;
    } else if (header_.bits != 24 || !(masks == Masks{0xff0000, 0xff00, 0xff, 0})) {
      unknown(name_, "colours in such places");
    }
  }

  void read_palette() {
    if (header_.num_colors > palette_.size()) unknown(name_, std::to_string(header_.num_colors) + " colours");
    const std::size_t size = header_.color_size * header_.num_colors;
    // Some writers forget the palette when they say where the pixels are.
    if (header_.pixels_at == after_header_) header_.pixels_at += size;
    const std::string_view colors = take(size);
    for (std::size_t index = 0; index < palette_.size(); ++index)
      palette_[index].fill(static_cast<std::uint8_t>(index));
    for (std::size_t index = 0; index < std::min(colors.size() / header_.color_size, palette_.size()); ++index) {
      const std::string_view color = colors.substr(index * header_.color_size, 3);
      for (std::size_t channel = 0; channel < 3; ++channel) {
        palette_[index][channel] = static_cast<std::uint8_t>(color[2 - channel]);
      }
    }
  }

  void read_rows(Image& image) const {
    for (int y = 0; y < image.height; ++y) {
      const std::uint8_t* source = row(y);
      std::uint8_t* target = image.row(y);
      for (int x = 0; x < image.width; ++x, target += 3) put(source, x, target);
    }
  }

  void put(const std::uint8_t* source, int x, std::uint8_t* target) const {
    const auto column = static_cast<std::size_t>(x);
    if (header_.bits <= 8) {
      const std::size_t bit = column * header_.bits;
      const unsigned index = static_cast<unsigned>(source[bit / 8]) >> (8 - header_.bits - bit % 8);
      std::copy_n(palette_[index & ((1U << header_.bits) - 1)].begin(), 3, target);
    } else if (header_.bits == 16) {
      const unsigned pixel = source[column * 2] | static_cast<unsigned>(source[column * 2 + 1]) << 8U;
      const unsigned most = (1U << green_bits_) - 1;
      target[0] = static_cast<std::uint8_t>((pixel >> (5 + green_bits_) & 31U) * 255 / 31);
      target[1] = static_cast<std::uint8_t>((pixel >> 5U & most) * 255 / most);
      target[2] = static_cast<std::uint8_t>((pixel & 31U) * 255 / 31);
    } else {
      const std::uint8_t* pixel = source + column * (header_.bits / 8);
      target[0] = pixel[order_.red];
      target[1] = pixel[order_.green];
      target[2] = pixel[order_.blue];
    }
  }

  void read_rows_with_alpha(Image& image) const {
    std::vector<std::uint8_t> rgba(image.pixels.size() / 3 * 4);
    std::uint8_t* target = rgba.data();
    for (int y = 0; y < image.height; ++y) {
      const std::uint8_t* pixel = row(y);
      for (int x = 0; x < image.width; ++x, pixel += 4, target += 4) {
        target[0] = pixel[order_.red];
        target[1] = pixel[order_.green];
        target[2] = pixel[order_.blue];
        target[3] = pixel[order_.alpha];
      }
    }
    lay_on_white(rgba.data(), image);
  }

  [[nodiscard]] const std::uint8_t* row(int y) const {
    const auto stored = static_cast<std::size_t>(header_.top_down ? y : header_.height - 1 - y);
    return as_bytes(bytes_) + header_.pixels_at + stored * header_.stride();
  }

  std::string_view bytes_;
  const std::string& name_;
  Header header_;
  std::size_t after_header_;
  ByteOrder order_;
  unsigned green_bits_ = 5;
  std::array<std::array<std::uint8_t, 3>, 256> palette_{};
};

}  // namespace

StoredImage decode_bmp(std::string_view bytes, const std::string& name) {
  return BmpReader(bytes, name).read();
}

}  // namespace lookonce
