#pragma once

#include <cstddef>
#include <cstdint>

/// libFuzzer's entry point: link a target with -fsanitize=fuzzer, or with mutate.cc, which needs no special compiler.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
