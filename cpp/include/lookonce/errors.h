#pragma once

#include <stdexcept>

namespace lookonce {

/// What a user can cause. The message names the file or setting, what was seen, what was expected and the next step.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An option that this program cannot have: a runtime or a device that is not there.
class OptionError : public Error {
 public:
  using Error::Error;
};

}  // namespace lookonce
