#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lookonce {

/// The value of one entry of an ONNX file's metadata. Error: not an ONNX file, cut short, or without that entry.
std::string onnx_metadata(std::string_view file, std::string_view key, const std::string& source);

/// Names of the values that the nodes of its graph compute, sorted.
std::vector<std::string> onnx_values(std::string_view file);

/// The same model, with these values inside its graph as outputs, behind those it has already.
///
/// Protocol buffers join messages by appending: a second `graph` that holds outputs alone adds them to the first.
std::string with_onnx_outputs(std::string_view file, const std::vector<std::string>& names);

}  // namespace lookonce
