#pragma once

// The exit codes of src/lookonce/exit_codes.py that this program has; a test compares the values.

namespace lookonce {

constexpr int kSucceeded = 0;
constexpr int kFailed = 1;    // invalid input, or an image that could not be read among others
constexpr int kWrongUse = 2;  // invalid option

}  // namespace lookonce
