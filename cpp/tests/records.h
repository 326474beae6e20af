#pragma once

#include <string>

namespace lookonce::tests {

/// A record as lookonce writes it: two classes, two heads, 64 x 64.
std::string record_json();

/// The same with one part of its text replaced; the part must be there.
std::string record_json_with(const std::string& part, const std::string& replacement);

}  // namespace lookonce::tests
