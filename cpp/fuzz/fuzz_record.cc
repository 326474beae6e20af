#include <string_view>
#include <vector>

#include "lookonce/decode.h"
#include "lookonce/errors.h"
#include "lookonce/nms.h"
#include "lookonce/onnx_file.h"
#include "lookonce/record.h"
#include "target.h"

namespace {

/// A record that was accepted must be one that can be used.
void use(const lookonce::Record& record) {
  std::vector<std::vector<float>> values;
  std::vector<lookonce::HeadMap> maps;
  for (const lookonce::HeadRecord& head : record.heads) {
    const int rows = record.height / head.stride;
    const int columns = record.width / head.stride;
    const auto size = static_cast<std::size_t>(record.channels(head)) * rows * columns;
    if (size > 1U << 20U) return;
    values.emplace_back(size, 0.5F);
    maps.push_back({values.back().data(), rows, columns});
  }
  const lookonce::Thresholds& known = record.thresholds;
  lookonce::select_detections(decode_heads(maps, record, known.score, known.multi_label), known.iou, 10);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool is_onnx : {true, false}) {
    try {
      use(lookonce::parse_record(
          is_onnx ? lookonce::onnx_metadata(bytes, lookonce::kRecordKey, "record") : std::string(bytes), "record"));
    } catch (const lookonce::Error&) {
      continue;
    }
  }
  return 0;
}
