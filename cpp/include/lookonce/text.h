#pragma once

#include <algorithm>
#include <cctype>
#include <string>

namespace lookonce {

/// ASCII's capitals made small; other bytes stay.
inline std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return text;
}

}  // namespace lookonce
