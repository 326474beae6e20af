#include <cmath>
#include <nlohmann/json.hpp>

#include "check.h"
#include "lookonce/backend.h"
#include "lookonce/errors.h"
#include "lookonce/images.h"
#include "lookonce/onnx_file.h"
#include "lookonce/record.h"
#include "records.h"

using namespace lookonce;
using namespace lookonce::tests;

namespace lookonce::tests {

std::string record_json() {
  return R"({"format_version":1,"dialect":{"name":"mindspore","activation":"leaky","center_scales":{"32":1.1,"16":1.2},)"
         R"("size_rule":"exp","batchnorm_eps":1e-05},"channels":[2,4],"class_names":["red","Größe 大"],)"
         R"("category_ids":[7,90],"strides":[32,16],"anchors":[[1,2],[3,4],[5,6],[7,8.5]],"masks":[[2,3],[0,1]],)"
         R"("image_size":[64,64],"preprocessing":{"resize":"letterbox","pad_value":114,"interpolation":"linear",)"
         R"("color_order":"RGB","mean":[0.0,0.0,0.0],"std":[1.0,1.0,1.0]},"thresholds":{"score":0.25,"iou":0.5,)"
         R"("max_detections":300,"per_class_score":{"red":0.4}},"settings":{"anything":[1,null]},"metrics":{"AP":0.5}})";
}

std::string record_json_with(const std::string& part, const std::string& replacement) {
  std::string json = record_json();
  const std::size_t at = json.find(part);
  EQUAL(at != std::string::npos, true);
  return json.replace(at, part.size(), replacement);
}

}  // namespace lookonce::tests

namespace {

std::string refusal(const std::string& part, const std::string& replacement) {
  return error_of([&] { parse_record(record_json_with(part, replacement), "x.onnx"); });
}

/// A message of protocol buffers whose fields all hold bytes, each shorter than 128.
std::string field(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

}  // namespace

TEST(a_record_comes_out_as_it_was_written) {
  const Record record = parse_record(record_json(), "x.onnx");
  EQUAL(record.dialect, "mindspore");
  EQUAL(record.class_names[1], "Größe 大");
  EQUAL(record.category_ids[1], 90);
  EQUAL(record.heads[0].stride, 32);
  EQUAL(record.heads[0].anchors[1].height, 8.5F);
  EQUAL(record.heads[1].center_scale, 1.2F);
  EQUAL(record.channels(record.heads[1]), 14);
  EQUAL(record.thresholds.per_class_score.at("red"), 0.4F);
  EQUAL(record.thresholds.multi_label, true);  // nothing was said
  EQUAL(record.thresholds.agnostic, false);
}

TEST(a_record_may_say_that_a_box_has_one_class) {
  std::string json = record_json();
  json.insert(json.find(R"("per_class_score")"), R"("multi_label":false,)");
  EQUAL(parse_record(json, "x.onnx").thresholds.multi_label, false);
  json.insert(json.find(R"("per_class_score")"), R"("agnostic":true,)");
  EQUAL(parse_record(json, "x.onnx").thresholds.agnostic, true);
}

TEST(what_is_wrong_in_a_record_is_named_with_its_place_and_value) {
  CONTAINS(refusal(R"("strides":[32,16])", R"("strides":[32,0])"), "strides[1] = 0; expected a whole number from 1");
  CONTAINS(refusal(R"("strides":[32,16])", R"("strides":[32,24])"), "strides[1] = 24");
  CONTAINS(refusal(R"([[2,3],[0,1]])", R"([[2,3],[0,4]])"), "masks[1][1] = 4; expected a whole number from 0 to 3");
  CONTAINS(refusal(R"("score":0.25)", R"("score":"0.25")"), "thresholds.score = \"0.25\"; expected a number");
  CONTAINS(refusal(R"("max_detections":300)", R"("max_detections":300,"multi_label":0)"), "multi_label = 0; expected");
  CONTAINS(refusal(R"("score":0.25)", R"("score":1e999)"), "x.onnx: its record is not JSON");
  CONTAINS(refusal(R"("linear")", R"("cubic")"), "expected one of linear, area, nearest");
  CONTAINS(refusal(R"("format_version":1)", R"("format_version":2)"), "format_version = 2");
  CONTAINS(refusal(R"("category_ids":[7,90])", R"("category_ids":[7])"), "category_ids");
  CONTAINS(refusal(R"("image_size":[64,64],)", ""), "lacks image_size");
  CONTAINS(error_of([] { parse_record("{", "x.onnx"); }), "not JSON");
}

TEST(records_that_were_edited_get_the_verdicts_that_python_gives) {
  const auto table = nlohmann::json::parse(read_file(LOOKONCE_RECORD_CASES));
  const std::string hole = "in place of a text";
  const auto verdict = [&](const nlohmann::json& one) {
    nlohmann::json record = table.at("record");
    const nlohmann::json::json_pointer place(one.at("at").get<std::string>());
    if (one.contains("value")) {
      record[place] = one["value"];
    } else if (one.contains("text")) {
      record[place] = hole;
    } else {
      record[place.parent_pointer()].erase(place.back());
    }
    std::string text = record.dump();
    const std::size_t at = text.find('"' + hole + '"');
    if (at != std::string::npos) text.replace(at, hole.size() + 2, one["text"].get<std::string>());
    try {
      parse_record(text, "x.onnx");
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  std::string wrong;
  for (const auto& one : table.at("accepted")) wrong += verdict(one) ? "" : " refused: " + one.dump();
  for (const auto& one : table.at("refused")) wrong += verdict(one) ? " accepted: " + one.dump() : "";
  EQUAL(wrong, "");
}

TEST(metadata_is_found_in_an_onnx_file_and_outputs_are_added_behind_it) {
  const std::string file =
      field(7, "") + field(14, field(1, "other") + field(2, "no")) + field(14, field(1, "key") + field(2, "value"));
  EQUAL(onnx_metadata(file, "key", "x"), "value");
  EQUAL(onnx_metadata(with_onnx_outputs(file, {"raw"}), "key", "x"), "value");
  const std::string extended = file + field(7, field(12, field(1, "raw")));
  EQUAL(with_onnx_outputs(file, {"raw"}), extended);
  EQUAL(with_onnx_outputs(extended, {"raw"}), extended + field(7, ""));
}

TEST(the_heads_of_a_graph_are_those_of_its_record) {
  const Record record = parse_record(record_json(), "x.onnx");
  const auto node = [](const std::string& output) { return field(1, field(1, "input") + field(2, output)); };
  const std::string graph = node("raw_stride32") + node("raw_stride16") + node("raw_stride_of_another");
  require_heads(onnx_values(field(7, graph)), record, "x.onnx");
  const auto refusal_of = [&](const std::string& other) {
    return error_of([&] { require_heads(onnx_values(field(7, other)), record, "x.onnx"); });
  };
  CONTAINS(refusal_of(node("raw_stride32")), "heads raw_stride32; expected raw_stride16, raw_stride32");
  CONTAINS(refusal_of(graph + node("raw_stride8")), "raw_stride8");
  CONTAINS(refusal_of(""), "heads none");
}

TEST(what_is_no_onnx_file_is_refused) {
  const std::string file = field(7, "") + field(14, field(1, "key") + field(2, "value"));
  CONTAINS(error_of([&] { onnx_metadata(file.substr(0, file.size() - 1), "key", "x"); }), "not a complete ONNX file");
  CONTAINS(error_of([&] { onnx_metadata("", "key", "x"); }), "not a complete ONNX file");
  CONTAINS(error_of([&] { onnx_metadata(file, "lookonce_record", "x"); }), "without the record");
}
