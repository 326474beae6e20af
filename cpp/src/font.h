#pragma once

namespace lookonce {

/// Letters of a fixed width, with room below their line for g and comma; columns and rows of ink are to be kept apart.
inline constexpr int kGlyphColumns = 5;
inline constexpr int kGlyphRows = 9;

/// What is drawn for a character that the font lacks: a box.
inline constexpr char kBoxLetter = '\x7f';

/// Whether a letter, ' ' to '~' or kBoxLetter, has ink at a place.
bool has_ink(char letter, int column, int row);

}  // namespace lookonce
