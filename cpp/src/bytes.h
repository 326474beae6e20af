#pragma once

#include <cstdint>
#include <string_view>

namespace lookonce {

/// Up to 8 bytes at `offset` as an unsigned number; the caller has checked that they are there.
inline std::uint64_t number_at(std::string_view bytes, std::size_t offset, unsigned size, bool big_endian) {
  std::uint64_t value = 0;
  for (unsigned index = 0; index < size; ++index) {
    const auto byte = static_cast<unsigned char>(bytes[offset + (big_endian ? index : size - 1 - index)]);
    value = value << 8U | byte;
  }
  return value;
}

inline const std::uint8_t* as_bytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

inline bool starts_with(std::string_view bytes, std::string_view prefix) {
  return bytes.substr(0, prefix.size()) == prefix;
}

}  // namespace lookonce
