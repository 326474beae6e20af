#pragma once

#include <optional>
#include <string_view>

namespace lookonce {

/// Orientation 1..8 in EXIF data (with or without "Exif\0\0" in front) or, where that has none, in XMP; else 1.
///
/// nullopt: the EXIF data is there and is not EXIF data.
std::optional<int> read_orientation(std::string_view exif, std::string_view xmp);

}  // namespace lookonce
