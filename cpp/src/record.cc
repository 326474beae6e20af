#include "lookonce/record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "lookonce/errors.h"

namespace lookonce {
namespace {

using Json = nlohmann::json;

// Ranges as in src/lookonce/settings/record.py (tests/record_cases.json holds both to the same verdicts): far above any
// detector, and small enough that no product of them overflows.
constexpr int kMaxClasses = 100'000;
constexpr int kMaxSide = 16'384;
constexpr int kMaxStride = 1'024;
constexpr int kMaxAnchors = 1'000;
constexpr int kMaxHeads = 16;
constexpr int kMaxChannels = 65'536;

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

  void require_one_of(const std::vector<std::string>& names) const {
    std::vector<std::pair<std::string, bool>> choices;
    for (const std::string& name : names) choices.emplace_back(name, true);
    static_cast<void>(one_of<bool>(choices));
  }

  [[nodiscard]] bool truth() const {
    if (!value_.is_boolean()) refuse("true or false");
    return value_.get<bool>();
  }

  /// Calls `check` with the field of that name, which files from before it was a choice do without.
  template <typename Check>
  void if_there(const std::string& key, const Check& check) const {
    if (value_.contains(key)) check(at(key));
  }

  [[nodiscard]] std::vector<std::pair<std::string, Field>> members() const {
    if (!value_.is_object()) refuse("an object");
    std::vector<std::pair<std::string, Field>> fields;
    for (const auto& [key, value] : value_.items()) fields.emplace_back(key, Field(value, inner(key), source_));
    return fields;
  }

  /// What a later version says may change what the rest means.
  void only(const std::vector<std::string>& keys) const {
    for (const auto& [key, member] : members()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) member.refuse("nothing of this name");
    }
  }

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
  field.only({"resize", "pad_value", "interpolation", "color_order", "mean", "std"});
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
  field.only({"score", "evaluation_score", "iou", "max_detections", "multi_label", "agnostic", "per_class_score"});
  constexpr float kAboveZero = std::numeric_limits<float>::denorm_min();
  constexpr float kBelowOne = 1 - std::numeric_limits<float>::epsilon() / 2;
  Thresholds thresholds;
  thresholds.score = field.at("score").number(0, 1);
  thresholds.iou = field.at("iou").number(kAboveZero, 1);
  thresholds.max_detections = static_cast<int>(field.at("max_detections").whole(1, std::numeric_limits<int>::max()));
  field.if_there("evaluation_score", [&](const Field& score) { static_cast<void>(score.number(0, kBelowOne)); });
  field.if_there("multi_label", [&](const Field& choice) { thresholds.multi_label = choice.truth(); });
  field.if_there("agnostic", [&](const Field& choice) { thresholds.agnostic = choice.truth(); });
  for (const auto& [name, own] : field.at("per_class_score").members()) {
    const float score = own.number(0, 1);
    if (std::find(record.class_names.begin(), record.class_names.end(), name) != record.class_names.end()) {
      thresholds.per_class_score[name] = score;
    }
  }
  return thresholds;
}

void parse_dialect(const Field& field, Record& record) {
  field.only({"name", "activation", "center_scales", "size_rule", "batchnorm_eps", "pool_edge"});
  record.dialect = field.at("name").text();
  record.size_rule = field.at("size_rule").one_of<SizeRule>(
      {{"exp", SizeRule::exponential}, {"square", SizeRule::square}});
  field.at("activation").require_one_of({"leaky", "relu", "silu"});
  static_cast<void>(field.at("batchnorm_eps").number(0, 1));
  field.if_there("pool_edge", [](const Field& edge) { edge.require_one_of({"repeat", "zero", "none"}); });
  for (const auto& [stride, scale] : field.at("center_scales").members()) {
    const bool is_stride = !stride.empty() && stride.find_first_not_of("0123456789") == std::string::npos;
    if (!is_stride) scale.refuse("a stride as its name");
    static_cast<void>(scale.number(0.1F, 10));
  }
}

/// What this program has no use for, but which shows whether the file is one of ours.
void check_description(const Field& root) {
  for (const Field& count : root.at("channels").items(0, kMaxClasses)) static_cast<void>(count.whole(0, kMaxChannels));
  root.if_there("names_known", [](const Field& known) { static_cast<void>(known.truth()); });
  root.if_there("precision", [](const Field& precision) { precision.require_one_of({"fp32", "fp16", "int8"}); });
  root.if_there("settings", [](const Field& settings) { static_cast<void>(settings.members()); });
  root.if_there("data_hash", [](const Field& hash) { static_cast<void>(hash.text()); });
  root.if_there("versions", [](const Field& versions) {
    for (const auto& [_, version] : versions.members()) static_cast<void>(version.text());
  });
  root.if_there("metrics", [](const Field& metrics) {
    constexpr float kMost = std::numeric_limits<float>::max();
    for (const auto& [_, metric] : metrics.members()) static_cast<void>(metric.number(-kMost, kMost));
  });
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
    for (const HeadRecord& other : heads) {
      if (other.stride == head.stride) strides[index].refuse("another number for each head");
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
  root.only({"format_version", "dialect", "channels", "class_names", "names_known", "category_ids", "strides",
             "anchors", "masks", "image_size", "preprocessing", "thresholds", "precision", "settings", "data_hash",
             "versions", "metrics"});
  parse_dialect(root.at("dialect"), record);
  parse_classes(root, record);
  const auto size = root.at("image_size").items(2, 2);
  record.height = static_cast<int>(size[0].whole(1, kMaxSide));
  record.width = static_cast<int>(size[1].whole(1, kMaxSide));
  record.heads = parse_heads(root, record);
  record.preprocessing = parse_preprocessing(root.at("preprocessing"));
  record.thresholds = parse_thresholds(root.at("thresholds"), record);
  check_description(root);
  return record;
}

}  // namespace lookonce
