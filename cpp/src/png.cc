#include <png.h>

#include <array>
#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "bytes.h"
#include "exif.h"
#include "formats.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

/// A PNG file while it is read. libpng leaves by longjmp, which runs no destructors: everything that lives across its
/// calls is a member, and is freed by this object's own destructor.
class PngReader {
 public:
  PngReader(std::string_view bytes, const std::string& name)
      : bytes_(bytes),
        name_(name),
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngReader::on_error, &PngReader::on_warning)) {
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw Error(name_ + ": no memory for the PNG decoder");
    }
    png_set_read_fn(png_, this, &PngReader::on_read);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  StoredImage read() {
    if (!read_header()) damaged();
    require_readable_size(width_, height_, name_);  // libpng takes memory for rows as it begins to convert them
    if (!begin_rows()) damaged();
    find_metadata();
    StoredImage stored;
    const auto orientation = read_orientation(exif_, xmp_);
    if (!orientation) throw Error(name_ + ": damaged PNG: its EXIF data cannot be read; copy it again");
    stored.orientation = *orientation;
    samples_.resize(row_bytes_ * height_);
    rows_.resize(height_);
    for (png_uint_32 y = 0; y < height_; ++y) rows_[y] = samples_.data() + row_bytes_ * y;
    if (!read_pixels()) damaged();
    stored.image = Image(static_cast<int>(width_), static_cast<int>(height_));
    depth_ == 16 ? bring_to_eight_bits() : void();
    to_rgb(stored.image);
    return stored;
  }

 private:
  [[noreturn]] void damaged() const { throw Error(name_ + ": damaged PNG: " + message_.data() + "; copy it again"); }

  static PngReader& self(png_voidp pointer) { return *static_cast<PngReader*>(pointer); }

  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto& text = self(png_get_error_ptr(png)).message_;
    std::strncpy(text.data(), message, text.size() - 1);
    png_longjmp(png, 1);
  }

  static void on_warning(png_structp /*png*/, png_const_charp /*message*/) {}

  static void on_read(png_structp png, png_bytep target, std::size_t size) {
    auto& reader = self(png_get_io_ptr(png));
    if (size > reader.bytes_.size() - reader.position_) png_error(png, "the file ends early");
    std::memcpy(target, reader.bytes_.data() + reader.position_, size);
    reader.position_ += size;
  }

  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(*-err52-cpp): libpng's only way to say no
    // Sizes are checked against our own limit; and no text inside may unpack to more than an EXIF block needs.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png_, 16U << 20U);
    png_read_info(png_, info_);
    png_get_IHDR(png_, info_, &width_, &height_, &depth_, &color_type_, nullptr, nullptr, nullptr);
    return true;
  }

  bool begin_rows() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(*-err52-cpp)
    choose_samples();
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    row_bytes_ = png_get_rowbytes(png_, info_);
    channels_ = png_get_channels(png_, info_);
    return true;
  }

  bool read_pixels() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(*-err52-cpp)
    png_read_image(png_, rows_.data());
    png_read_end(png_, nullptr);
    return true;
  }

  /// What stands in front of the pixels, as Pillow reads it. Its calls do not longjmp.
  void find_metadata() {
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png_, info_, &size, &exif) != 0) exif_.assign(exif, exif + size);
    png_textp texts = nullptr;
    int num_texts = 0;
    png_get_text(png_, info_, &texts, &num_texts);
    for (int index = 0; index < num_texts; ++index) {
      const png_text& text = texts[index];
      const std::size_t length = text.compression >= PNG_ITXT_COMPRESSION_NONE ? text.itxt_length : text.text_length;
      if (std::strcmp(text.key, "XML:com.adobe.xmp") == 0) xmp_.assign(text.text, length);
      if (std::strcmp(text.key, "Raw profile type exif") == 0 && exif_.empty()) raw_exif_.assign(text.text, length);
    }
    if (exif_.empty() && !raw_exif_.empty()) exif_ = from_hex_lines(raw_exif_);
  }

  /// ImageMagick's spelling: three lines of head, then hexadecimal digits in lines.
  static std::string from_hex_lines(const std::string& text) {
    std::size_t at = 0;
    for (int line = 0; line < 3 && at != std::string::npos; ++line) at = text.find('\n', at) + (line < 3 ? 1 : 0);
    std::string bytes;
    int high = -1;
    for (; at < text.size(); ++at) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto digit = kDigits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text[at]))));
      if (digit == std::string_view::npos) continue;
      if (high >= 0) bytes.push_back(static_cast<char>(high * 16 + static_cast<int>(digit)));
      high = high >= 0 ? -1 : static_cast<int>(digit);
    }
    return bytes;
  }

  /// Bytes or 16-bit numbers a channel. 8-bit grey and RGB keep their transparent colour apart, as Pillow does.
  void choose_samples() {
    const bool has_transparent = png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
    if (color_type_ == PNG_COLOR_TYPE_PALETTE) {
      png_set_palette_to_rgb(png_);
      if (has_transparent) png_set_tRNS_to_alpha(png_);
    } else if (depth_ == 16) {
      if (has_transparent) png_set_tRNS_to_alpha(png_);
    } else if (has_transparent) {
      png_color_16p color = nullptr;
      png_get_tRNS(png_, info_, nullptr, nullptr, &color);
      if (color_type_ == PNG_COLOR_TYPE_RGB) {
        transparent_ = {color->red, color->green, color->blue};
      } else {
        const int grey = depth_ == 1 && color->gray != 0 ? 255 : color->gray;
        transparent_ = {grey, grey, grey};
      }
    }
    if (color_type_ == PNG_COLOR_TYPE_GRAY && depth_ < 8) png_set_expand_gray_1_2_4_to_8(png_);
  }

  /// 0..65535 -> 0..255, to the nearest.
  void bring_to_eight_bits() {
    const std::size_t count = samples_.size() / 2;
    for (std::size_t index = 0; index < count; ++index) {
      const unsigned deep = static_cast<unsigned>(samples_[index * 2]) << 8U | samples_[index * 2 + 1];
      samples_[index] = static_cast<std::uint8_t>((deep + 128U) / 257U);
    }
    samples_.resize(count);
  }

  void to_rgb(Image& image) const {
    const bool has_alpha = channels_ == 2 || channels_ == 4;
    const std::size_t num_pixels = image.pixels.size() / 3;
    if (channels_ == 3 && transparent_[0] < 0) {
      image.pixels = samples_;
      return;
    }
    if (has_alpha || transparent_[0] >= 0) {
      lay_on_white(rgba(num_pixels).data(), image);
      return;
    }
    for (std::size_t pixel = 0; pixel < num_pixels; ++pixel) {
      std::memset(&image.pixels[pixel * 3], samples_[pixel], 3);
    }
  }

  [[nodiscard]] std::vector<std::uint8_t> rgba(std::size_t num_pixels) const {
    std::vector<std::uint8_t> pixels(num_pixels * 4);
    for (std::size_t pixel = 0; pixel < num_pixels; ++pixel) {
      const std::uint8_t* from = &samples_[pixel * channels_];
      std::uint8_t* to = &pixels[pixel * 4];
      for (std::size_t channel = 0; channel < 3; ++channel) to[channel] = from[channels_ < 3 ? 0 : channel];
      const bool clear = to[0] == transparent_[0] && to[1] == transparent_[1] && to[2] == transparent_[2];
      to[3] = channels_ % 2 == 0 ? from[channels_ - 1] : static_cast<std::uint8_t>(clear ? 0 : 255);
    }
    return pixels;
  }

  std::string_view bytes_;
  const std::string& name_;
  std::size_t position_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::array<char, 128> message_{};
  png_uint_32 width_ = 0, height_ = 0;
  int depth_ = 0, color_type_ = 0;
  std::size_t row_bytes_ = 0, channels_ = 0;
  std::array<int, 3> transparent_{-1, -1, -1};
  std::string exif_, xmp_, raw_exif_;
  std::vector<std::uint8_t> samples_;
  std::vector<png_bytep> rows_;
};

}  // namespace

StoredImage decode_png(std::string_view bytes, const std::string& name) {
  return PngReader(bytes, name).read();
}

std::string encode_png(const Image& image) {
  png_image whole{};
  whole.version = PNG_IMAGE_VERSION;
  whole.width = static_cast<png_uint_32>(image.width);
  whole.height = static_cast<png_uint_32>(image.height);
  whole.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(whole);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&whole, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0) {
    throw Error(std::string("cannot write a PNG: ") + whole.message);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace lookonce
