#include "lookonce/decode.h"

#include <algorithm>
#include <cmath>

namespace lookonce {
namespace {

/// Through tanh, which no logit makes overflow.
float sigmoid(float logit) {
  return 0.5F * std::tanh(0.5F * logit) + 0.5F;
}

/// The smallest logit whose sigmoid could be over `probability`, a little low: what is under it needs no sigmoid.
float surely_below(float probability) {
  constexpr float kRounding = 1e-6F;  // more than what sigmoid() and a quotient of two scores are wrong by
  const float bound = probability - kRounding;
  if (bound <= 0) return -INFINITY;
  if (bound >= 1) return INFINITY;
  return std::log(bound / (1 - bound));
}

/// One anchor of one head: its planes of logits, and how they become boxes.
class AnchorMap {
 public:
  AnchorMap(const HeadMap& map, const HeadRecord& head, std::size_t anchor, const Record& record)
      : plane_(static_cast<std::size_t>(map.rows) * static_cast<std::size_t>(map.columns)),
        values_(map.values + anchor * (5 + record.class_names.size()) * plane_),
        columns_(map.columns),
        head_(head),
        anchor_(head.anchors[anchor]),
        rule_(record.size_rule) {}

  [[nodiscard]] float logit(std::size_t channel, std::size_t cell) const { return values_[channel * plane_ + cell]; }

  [[nodiscard]] BoxXyxy box(std::size_t cell) const {
    const auto width = static_cast<std::size_t>(columns_);
    const float x = center(logit(0, cell), cell % width);
    const float y = center(logit(1, cell), cell / width);
    const float half_width = size_factor(logit(2, cell)) * anchor_.width / 2;
    const float half_height = size_factor(logit(3, cell)) * anchor_.height / 2;
    return {x - half_width, y - half_height, x + half_width, y + half_height};
  }

 private:
  [[nodiscard]] float center(float logit, std::size_t cell) const {
    const float scale = head_.center_scale;
    return (scale * sigmoid(logit) - (scale - 1) / 2 + static_cast<float>(cell)) * static_cast<float>(head_.stride);
  }

  [[nodiscard]] float size_factor(float logit) const {
    if (rule_ == SizeRule::exponential) return std::exp(std::min(logit, 10.0F));  // bounded as in model/decode.py
    const float doubled = 2 * sigmoid(logit);
    return doubled * doubled;
  }

  std::size_t plane_;
  const float* values_;
  int columns_;
  const HeadRecord& head_;
  Anchor anchor_;
  SizeRule rule_;
};

void decode_cell(const AnchorMap& map, std::size_t cell, int num_classes, float threshold, float lowest_logit,
                 bool multi_label, Detections& found) {
  // Objectness first: a class probability is at most 1, so nearly every cell is done here.
  if (!(map.logit(4, cell) > lowest_logit)) return;
  const float objectness = sigmoid(map.logit(4, cell));
  const float lowest_class_logit = surely_below(threshold / objectness);
  const std::size_t num_before = found.size();
  for (int label = 0; label < num_classes; ++label) {
    const float logit = map.logit(5 + static_cast<std::size_t>(label), cell);
    if (!(logit > lowest_class_logit)) continue;
    const float score = objectness * sigmoid(logit);
    if (!(score > threshold)) continue;
    if (found.size() == num_before) {
      found.push_back({map.box(cell), score, label});
    } else if (multi_label) {
      found.push_back({found.back().box, score, label});
    } else if (score > found.back().score) {
      found.back().score = score;
      found.back().label = label;
    }
  }
}

}  // namespace

Detections decode_heads(const std::vector<HeadMap>& maps, const Record& record, float score_threshold,
                        bool multi_label) {
  const float lowest_logit = surely_below(score_threshold);
  Detections found;
  for (std::size_t index = 0; index < maps.size(); ++index) {
    const HeadRecord& head = record.heads[index];
    std::vector<AnchorMap> anchors;
    for (std::size_t anchor = 0; anchor < head.anchors.size(); ++anchor) {
      anchors.emplace_back(maps[index], head, anchor, record);
    }
    const auto num_cells = static_cast<std::size_t>(maps[index].rows) * static_cast<std::size_t>(maps[index].columns);
    for (std::size_t cell = 0; cell < num_cells; ++cell) {
      for (const AnchorMap& map : anchors) {
        decode_cell(map, cell, record.num_classes(), score_threshold, lowest_logit, multi_label, found);
      }
    }
  }
  return found;
}

}  // namespace lookonce
