#include <string_view>

#include "lookonce/errors.h"
#include "lookonce/images.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    lookonce::decode_image({reinterpret_cast<const char*>(data), size}, "image");
  } catch (const lookonce::Error&) {
    return 0;  // a refusal with a message is what damaged images are to get; anything else ends the process
  }
  return 0;
}
