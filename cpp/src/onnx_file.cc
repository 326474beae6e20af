#include "lookonce/onnx_file.h"

#include <cstdint>
#include <optional>
#include <set>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

// Field numbers of onnx.proto: ModelProto, StringStringEntryProto, GraphProto, NodeProto, ValueInfoProto.
constexpr std::uint64_t kModelGraph = 7;
constexpr std::uint64_t kModelMetadata = 14;
constexpr std::uint64_t kEntryKey = 1;
constexpr std::uint64_t kEntryValue = 2;
constexpr std::uint64_t kGraphNode = 1;
constexpr std::uint64_t kGraphOutput = 12;
constexpr std::uint64_t kNodeOutput = 2;
constexpr std::uint64_t kValueName = 1;

enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// The fields of one protocol buffers message, one after the other; what they hold is not copied.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  std::uint64_t number = 0;
  std::string_view content;  // of a field that holds bytes; else empty

  /// false at the end, and when the message is damaged.
  bool next() {
    if (rest_.empty()) return false;
    const auto tag = varint();
    if (!tag) return fail();
    number = *tag >> 3U;
    content = {};
    switch (*tag & 7U) {
      case kVarint:
        return varint().has_value() || fail();
      case kFixed64:
        return skip(8);
      case kFixed32:
        return skip(4);
      case kBytes: {
        const auto size = varint();
        if (!size || *size > rest_.size()) return fail();
        content = rest_.substr(0, *size);
        return skip(*size);
      }
      default:
        return fail();
    }
  }

  [[nodiscard]] bool damaged() const { return damaged_; }

 private:
  bool fail() {
    damaged_ = true;
    return false;
  }

  bool skip(std::uint64_t size) {
    if (size > rest_.size()) return fail();
    rest_.remove_prefix(size);
    return true;
  }

  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    return std::nullopt;
  }

  std::string_view rest_;
  bool damaged_ = false;
};

void append_varint(std::string& bytes, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) bytes.push_back(static_cast<char>((value & 0x7FU) | 0x80U));
  bytes.push_back(static_cast<char>(value));
}

void append_bytes(std::string& message, std::uint64_t number, std::string_view content) {
  append_varint(message, number << 3U | kBytes);
  append_varint(message, content.size());
  message += content;
}

/// The texts in field `inner` of each field `outer` of the graph.
std::set<std::string_view> names_in_graph(std::string_view file, std::uint64_t outer, std::uint64_t inner) {
  std::set<std::string_view> names;
  for (Fields model(file); model.next();) {
    if (model.number != kModelGraph) continue;
    for (Fields graph(model.content); graph.next();) {
      if (graph.number != outer) continue;
      for (Fields part(graph.content); part.next();) {
        if (part.number == inner) names.insert(part.content);
      }
    }
  }
  return names;
}

}  // namespace

std::string onnx_metadata(std::string_view file, std::string_view key, const std::string& source) {
  Fields model(file);
  bool has_graph = false;
  std::optional<std::string_view> value;
  while (model.next()) {
    has_graph = has_graph || model.number == kModelGraph;
    if (model.number != kModelMetadata) continue;
    std::string_view entry_key;
    std::string_view entry_value;
    Fields entry(model.content);
    while (entry.next()) {
      if (entry.number == kEntryKey) entry_key = entry.content;
      if (entry.number == kEntryValue) entry_value = entry.content;
    }
    if (entry_key == key) value = entry_value;
  }
  if (model.damaged() || !has_graph) {
    throw Error(source + " (" + std::to_string(file.size()) +
                " bytes): not a complete ONNX file; export it again with `lookonce export WEIGHTS --to onnx`");
  }
  if (!value) {
    throw Error(source +
                ": an ONNX file without the record that lookonce writes into its own (class names, anchors, "
                "preprocessing); make the file with `lookonce export WEIGHTS --to onnx`");
  }
  return std::string(*value);
}

std::vector<std::string> onnx_values(std::string_view file) {
  const std::set<std::string_view> names = names_in_graph(file, kGraphNode, kNodeOutput);
  return {names.begin(), names.end()};
}

std::string with_onnx_outputs(std::string_view file, const std::vector<std::string>& names) {
  const std::set<std::string_view> present = names_in_graph(file, kGraphOutput, kValueName);
  std::string graph;
  for (const std::string& name : names) {
    if (present.count(name) != 0) continue;
    std::string value_info;
    append_bytes(value_info, kValueName, name);
    append_bytes(graph, kGraphOutput, value_info);
  }
  std::string extended(file);
  append_bytes(extended, kModelGraph, graph);
  return extended;
}

}  // namespace lookonce
