#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "bytes.h"
#include "formats.h"
#include "lookonce/errors.h"

namespace lookonce {
namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";
constexpr std::size_t kLongestToken = 10;

bool is_space(char letter) {
  return kSpace.find(letter) != std::string_view::npos;
}

/// P1 to P6: bits, grey or RGB, as text or as bytes.
class PnmReader {
 public:
  PnmReader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  StoredImage read() {
    const char kind = bytes_.size() > 2 && is_space(bytes_[2]) ? bytes_[1] : '0';
    position_ = 3;
    is_bits_ = kind == '1' || kind == '4';
    is_text_ = kind <= '3';
    channels_ = kind == '3' || kind == '6' ? 3 : 1;
    const int width = number();
    const int height = number();
    if (kind == '0') damaged("its header cannot be read");
    if (!is_bits_) most_ = number();
    if (most_ < 1 || most_ > 65535) damaged("its largest value is " + std::to_string(most_) + ", expected 1 to 65535");
    require_readable_size(width, height, name_);
    require_bytes_for(width, height);
    StoredImage stored;
    stored.image = Image(width, height);
    for (int y = 0; y < height; ++y) read_row(stored.image.row(y), width);
    return stored;
  }

 private:
  [[noreturn]] void damaged(const std::string& why) const {
    throw Error(name_ + ": damaged PNM: " + why + "; copy it again");
  }

  /// Before memory is taken for them. Text has at least a letter for each bit, and a space behind each number.
  void require_bytes_for(int width, int height) const {
    const auto samples = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels_);
    const std::size_t text_row = is_bits_ ? samples : samples * 2;
    const std::size_t byte_row = is_bits_ ? (samples + 7) / 8 : samples * sample_size();
    const std::size_t needed = (is_text_ ? text_row : byte_row) * static_cast<std::size_t>(height);
    if (bytes_.size() - position_ + 1 < needed + (is_text_ ? 0 : 1)) {
      throw Error(name_ + ": truncated PNM: the file ends after " + std::to_string(bytes_.size()) +
                  " bytes; copy it again");
    }
  }

  [[nodiscard]] std::size_t sample_size() const { return most_ < 256 ? 1 : 2; }

  void read_row(std::uint8_t* target, int width) {
    const std::size_t row_at = position_;
    for (int x = 0; x < width; ++x, target += 3) {
      for (int channel = 0; channel < channels_; ++channel) target[channel] = sample(row_at, x);
      if (channels_ == 1) std::memset(target, target[0], 3);
    }
    if (is_bits_ && !is_text_) position_ = row_at + (static_cast<std::size_t>(width) + 7) / 8;
  }

  std::uint8_t sample(std::size_t row_at, int x) {
    if (is_bits_ && is_text_) return bit() ? 0 : 255;
    if (is_bits_) {
      const auto column = static_cast<std::size_t>(x);
      return (static_cast<unsigned>(as_bytes(bytes_)[row_at + column / 8]) >> (7 - column % 8) & 1U) != 0 ? 0 : 255;
    }
    if (is_text_) {
      const int value = number();
      if (value > most_)
        damaged("it holds " + std::to_string(value) + ", but says " + std::to_string(most_) + " at most");
      return to_eight_bits(value);
    }
    const auto value = static_cast<int>(number_at(bytes_, position_, static_cast<unsigned>(sample_size()), true));
    position_ += sample_size();
    return to_eight_bits(std::min(value, most_));
  }

  /// As Pillow's PpmImagePlugin and data/images.py: deep grey is brought to 16 bits first, deep colour is not.
  [[nodiscard]] std::uint8_t to_eight_bits(int value) const {
    if (most_ == 255) return static_cast<std::uint8_t>(value);
    const bool deep = most_ > 255 && channels_ == 1;
    // nearbyint rounds halves to even, as Python's round does.
    const auto scaled =
        static_cast<unsigned>(std::nearbyint(static_cast<double>(value) / most_ * (deep ? 65535 : 255)));
    return static_cast<std::uint8_t>(deep ? (scaled + 128U) / 257U : scaled);
  }

  /// The next letter that is in no comment; those reach from # to the end of their line. Error at the end of the file.
  char next() {
    while (position_ < bytes_.size() && bytes_[position_] == '#') {
      position_ = std::min(bytes_.find_first_of("\r\n", position_), bytes_.size() - 1) + 1;
    }
    if (position_ >= bytes_.size()) damaged("the file ends early");
    return bytes_[position_++];
  }

  bool bit() {
    char letter = next();
    while (is_space(letter)) letter = next();
    if (letter != '0' && letter != '1') damaged("it holds a bit that is neither 0 nor 1");
    return letter == '1';
  }

  /// A decimal number, and the one space behind it, which the end of the file may stand for.
  int number() {
    char letter = next();
    while (is_space(letter)) letter = next();
    std::string token(1, letter);
    while (position_ < bytes_.size() && !is_space(letter = next())) {
      if (token.size() == kLongestToken) damaged("one of its numbers is too long");
      token.push_back(letter);
    }
    if (token.find_first_not_of("0123456789") != std::string::npos) damaged("one of its numbers is none");
    const long long value = std::stoll(token);
    if (value > std::numeric_limits<int>::max()) damaged("one of its numbers is too large");
    return static_cast<int>(value);
  }

  std::string_view bytes_;
  const std::string& name_;
  std::size_t position_ = 0;
  bool is_bits_ = false, is_text_ = false;
  int channels_ = 1, most_ = 1;
};

}  // namespace

StoredImage decode_pnm(std::string_view bytes, const std::string& name) {
  return PnmReader(bytes, name).read();
}

}  // namespace lookonce
