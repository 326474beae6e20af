#include "exif.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "bytes.h"

namespace lookonce {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kExifPrefix = "Exif\0\0"sv;
constexpr std::uint64_t kOrientationTag = 0x0112;  // EXIF 2.32, table 4
constexpr std::size_t kEntrySize = 12;

/// Bytes a value of each TIFF type takes, of the types that can hold an orientation; 0 for the others.
unsigned integer_size(std::uint64_t type) {
  constexpr std::array<unsigned, 14> kSizes{0, 0, 0, 2, 4, 0, 1, 0, 2, 4, 0, 0, 0, 4};
  return type < kSizes.size() ? kSizes[type] : 0;
}

/// The first entry with that tag, as Pillow takes it; 0 when there is none that holds one whole number.
std::uint64_t orientation_in_ifd(std::string_view tiff, bool big_endian) {
  const std::uint64_t offset = number_at(tiff, 4, 4, big_endian);
  if (offset + 2 > tiff.size()) return 0;
  const std::uint64_t num_entries = number_at(tiff, offset, 2, big_endian);
  for (std::uint64_t index = 0; index < num_entries; ++index) {
    const std::uint64_t entry = offset + 2 + index * kEntrySize;
    if (entry + kEntrySize > tiff.size()) return 0;
    if (number_at(tiff, entry, 2, big_endian) != kOrientationTag) continue;
    const unsigned size = integer_size(number_at(tiff, entry + 2, 2, big_endian));
    if (size == 0 || number_at(tiff, entry + 4, 4, big_endian) != 1) return 0;
    return number_at(tiff, entry + 8, size, big_endian);
  }
  return 0;
}

std::uint64_t orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (std::size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    const std::string_view rest = xmp.substr(at + kName.size());
    const std::size_t digit = starts_with(rest, "=\"") ? 2 : starts_with(rest, ">") ? 1 : rest.size();
    if (digit < rest.size() && rest[digit] >= '0' && rest[digit] <= '9') {
      return static_cast<std::uint64_t>(rest[digit] - '0');
    }
  }
  return 0;
}

}  // namespace

std::optional<int> read_orientation(std::string_view exif, std::string_view xmp) {
  for (int times = 0; times < 2 && starts_with(exif, kExifPrefix); ++times) exif.remove_prefix(kExifPrefix.size());
  std::uint64_t value = 0;
  if (!exif.empty()) {
    const bool little = starts_with(exif, "II*\0"sv);
    if (exif.size() < 8 || (!little && !starts_with(exif, "MM\0*"sv))) return std::nullopt;
    value = orientation_in_ifd(exif, !little);
  }
  if (value == 0) value = orientation_in_xmp(xmp);
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

}  // namespace lookonce
