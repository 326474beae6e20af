#include "lookonce/record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

using Json = nlohmann::json;

// Far above any detector, and small enough that no product of them overflows.
constexpr int kMaxClasses = 100'000;
constexpr int kMaxSide = 16'384;
constexpr int kMaxStride = 1'024;
constexpr int kMaxAnchors = 1'000;
constexpr int kMaxHeads = 16;

/// A JSON value with the place it stands at, so that every complaint can name it.
class Field {
 public:
  Field(const Json& value, std::string place, const std::string& source)
      : value_(value), place_(std::move(place)), source_(source) {}

  [[nodiscard]] Field at(const std::string& key) const {
    if (!value_.is_object()) refuse("an object");
    const auto found = value_.find(key);
    if (found == value_.end()) throw Error(source_ + ": its record lacks " + inner(key) + advice());
    return {*found, inner(key), source_};
  }

  [[nodiscard]] std::vector<Field> items(std::size_t fewest, std::size_t most) const {
    if (!value_.is_array() || value_.size() < fewest || value_.size() > most) {
      refuse("a list of " +
             (fewest == most ? std::to_string(fewest) : std::to_string(fewest) + " to " + std::to_string(most)));
    }
    std::vector<Field> fields;
    for (std::size_t index = 0; index < value_.size(); ++index) {
      fields.emplace_back(value_[index], place_ + "[" + std::to_string(index) + "]", source_);
    }
    return fields;
  }

  [[nodiscard]] std::string text() const {
    if (!value_.is_string()) refuse("a text");
    return value_.get<std::string>();
  }

  [[nodiscard]] std::int64_t whole(std::int64_t low, std::int64_t high) const {
    const std::string expected = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
    if (!value_.is_number_integer()) refuse(expected);
    if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > static_cast<std::uint64_t>(high)) refuse(expected);
    const auto number = value_.get<std::int64_t>();
    if (number < low || number > high) refuse(expected);
    return number;
  }

  [[nodiscard]] float number(float low, float high) const {
    if (!value_.is_number()) refuse("a number");
    const auto number = value_.get<float>();
    if (!std::isfinite(number) || number < low || number > high) {
      refuse("a number from " + Json(low).dump() + " to " + Json(high).dump());
    }
    return number;
  }

  template <typename Choice>
  [[nodiscard]] Choice one_of(const std::vector<std::pair<std::string, Choice>>& choices) const {
    std::string names;
    for (const auto& [name, choice] : choices) {
      if (value_.is_string() && value_.get_ref<const std::string&>() == name) return choice;
      names += (names.empty() ? "" : ", ") + name;
    }
    refuse("one of " + names);
  }

  [[nodiscard]] bool truth() const {
    if (!value_.is_boolean()) refuse("true or false");
    return value_.get<bool>();
  }

  [[nodiscard]] bool has(const std::string& key) const { return value_.is_object() && value_.contains(key); }

  [[nodiscard]] const Json& json() const { return value_; }

  [[noreturn]] void refuse(const std::string& expected) const {
    std::string seen = value_.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (seen.size() > 60) seen = seen.substr(0, 60) + "...";
    throw Error(source_ + ": its record says " + place_ + " = " + seen + "; expected " + expected + advice());
  }

 private:
  [[nodiscard]] std::string inner(const std::string& key) const { return place_.empty() ? key : place_ + "." + key; }
  static std::string advice() {
    return "; it was exported by another version of lookonce, or edited by hand: export it again";
  }

  const Json& value_;
  std::string place_;
  const std::string& source_;
};

std::array<float, 3> three_numbers(const Field& field, float low, float high) {
  const auto items = field.items(3, 3);
  return {items[0].number(low, high), items[1].number(low, high), items[2].number(low, high)};
}

Preprocessing parse_preprocessing(const Field& field) {
  Preprocessing how;
  how.resize = field.at("resize").one_of<Resize>({{"letterbox", Resize::letterbox}, {"stretch", Resize::stretch}});
  how.pad_value = static_cast<std::uint8_t>(field.at("pad_value").whole(0, 255));
  how.interpolation =
      field.at("interpolation")
          .one_of<Interpolation>(
              {{"linear", Interpolation::linear}, {"area", Interpolation::area}, {"nearest", Interpolation::nearest}});
  how.color_order = field.at("color_order").one_of<ColorOrder>({{"RGB", ColorOrder::rgb}, {"BGR", ColorOrder::bgr}});
  how.mean = three_numbers(field.at("mean"), -1e3F, 1e3F);
  how.std = three_numbers(field.at("std"), 1e-6F, 1e6F);
  return how;
}

Thresholds parse_thresholds(const Field& field, const Record& record) {
  Thresholds thresholds;
  thresholds.score = field.at("score").number(0, 1);
  thresholds.iou = field.at("iou").number(0, 1);
  thresholds.max_detections = static_cast<int>(field.at("max_detections").whole(1, std::numeric_limits<int>::max()));
  // Files from before these were choices do without.
  if (field.has("multi_label")) thresholds.multi_label = field.at("multi_label").truth();
  if (field.has("agnostic")) thresholds.agnostic = field.at("agnostic").truth();
  const Field per_class = field.at("per_class_score");
  if (!per_class.json().is_object()) per_class.refuse("an object");
  for (const auto& [name, _] : per_class.json().items()) {
    if (std::find(record.class_names.begin(), record.class_names.end(), name) != record.class_names.end()) {
      thresholds.per_class_score[name] = per_class.at(name).number(0, 1);
    }
  }
  return thresholds;
}

std::vector<Anchor> parse_anchors(const Field& field) {
  std::vector<Anchor> anchors;
  for (const Field& item : field.items(1, kMaxAnchors)) {
    const auto sides = item.items(2, 2);
    anchors.push_back({sides[0].number(1e-3F, 1e6F), sides[1].number(1e-3F, 1e6F)});
  }
  return anchors;
}

std::vector<HeadRecord> parse_heads(const Field& root, const Record& record) {
  const auto strides = root.at("strides").items(1, kMaxHeads);
  const auto masks = root.at("masks").items(strides.size(), strides.size());
  const auto anchors = parse_anchors(root.at("anchors"));
  const Field scales = root.at("dialect").at("center_scales");
  std::vector<HeadRecord> heads;
  for (std::size_t index = 0; index < strides.size(); ++index) {
    HeadRecord head;
    head.stride = static_cast<int>(strides[index].whole(1, kMaxStride));
    if (record.height % head.stride != 0 || record.width % head.stride != 0) {
      strides[index].refuse("a number that divides the size of the network's input");
    }
    head.center_scale = scales.at(std::to_string(head.stride)).number(0.1F, 10);
    for (const Field& row : masks[index].items(1, kMaxAnchors)) {
      head.anchors.push_back(anchors[row.whole(0, static_cast<std::int64_t>(anchors.size()) - 1)]);
    }
    heads.push_back(std::move(head));
  }
  return heads;
}

void parse_classes(const Field& root, Record& record) {
  for (const Field& name : root.at("class_names").items(1, kMaxClasses)) record.class_names.push_back(name.text());
  const std::size_t count = record.class_names.size();
  for (const Field& id : root.at("category_ids").items(count, count)) {
    record.category_ids.push_back(
        id.whole(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()));
  }
}

}  // namespace

Record parse_record(std::string_view json, const std::string& source) {
  const Json document = Json::parse(json, nullptr, false);
  if (document.is_discarded()) throw Error(source + ": its record is not JSON; export it again");
  const Field root(document, "", source);
  static_cast<void>(root.at("format_version").whole(1, 1));
  Record record;
  record.dialect = root.at("dialect").at("name").text();
  record.size_rule = root.at("dialect")
                         .at("size_rule")
                         .one_of<SizeRule>({{"exp", SizeRule::exponential}, {"square", SizeRule::square}});
  parse_classes(root, record);
  const auto size = root.at("image_size").items(2, 2);
  record.height = static_cast<int>(size[0].whole(1, kMaxSide));
  record.width = static_cast<int>(size[1].whole(1, kMaxSide));
  record.heads = parse_heads(root, record);
  record.preprocessing = parse_preprocessing(root.at("preprocessing"));
  record.thresholds = parse_thresholds(root.at("thresholds"), record);
  return record;
}

}  // namespace lookonce
