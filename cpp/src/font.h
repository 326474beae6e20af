#pragma once

#include <array>

namespace lookonce {

/// One printable ASCII character: `columns` by kFontRows levels of ink, 'a' none to 'p' full, row after row.
struct Glyph {
  int columns;
  const char* ink;
};

inline constexpr int kFontRows = 24;
inline constexpr char kFirstGlyph = ' ';
inline constexpr int kNumGlyphs = 95;

extern const std::array<Glyph, kNumGlyphs> kGlyphs;

}  // namespace lookonce
