// Decoding and suppression on boxes that can be checked by hand.

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "lookonce/decode.h"
#include "lookonce/nms.h"
#include "lookonce/record.h"

using namespace lookonce;

namespace {

constexpr float kFarBelow = -20;

/// One head of stride 32 with one anchor of 40 x 20 on a canvas of 64 x 64, one class.
Record small_record(SizeRule rule, float center_scale) {
  Record record;
  record.class_names = {"only"};
  record.category_ids = {1};
  record.width = record.height = 64;
  record.size_rule = rule;
  record.heads = {{32, center_scale, {{40, 20}}}};
  return record;
}

/// 2 x 2 cells in which nothing is seen but in the one of row 1, column 0: logits 0, objectness and class certain.
std::vector<float> one_object() {
  std::vector<float> values(6 * 4, 0.0F);
  for (const std::size_t channel : {4U, 5U}) {
    for (std::size_t cell = 0; cell < 4; ++cell) values[channel * 4 + cell] = cell == 2 ? -kFarBelow : kFarBelow;
  }
  return values;
}

Detections decode_one(const Record& record, const std::vector<float>& values) {
  return decode_heads({{values.data(), 2, 2}}, record, 0.5F);
}

Detection at(float left, float score, int label) {
  return {{left, 0, left + 10, 10}, score, label};
}

}  // namespace

TEST(zero_logits_decode_to_the_middle_of_the_cell_and_one_anchor) {
  const Detections found = decode_one(small_record(SizeRule::exponential, 1), one_object());
  EQUAL(found.size(), 1U);
  NEAR(found[0].score, 1, 1e-6);
  NEAR(found[0].box.left, 16 - 20, 1e-5);  // column 0: (0 + 0.5) * 32, 40 wide
  NEAR(found[0].box.top, 48 - 10, 1e-5);   // row 1: (1 + 0.5) * 32, 20 high
  NEAR(found[0].box.right, 36, 1e-5);
  NEAR(found[0].box.bottom, 58, 1e-5);
}

TEST(the_square_rule_gives_four_anchors_at_most_and_scaled_centres_reach_beyond_their_cell) {
  std::vector<float> values = one_object();
  for (const std::size_t channel : {0U, 1U, 2U, 3U}) values[channel * 4 + 2] = 100;
  const Detections found = decode_one(small_record(SizeRule::square, 2), values);
  const BoxXyxy& box = found.at(0).box;
  NEAR((box.left + box.right) / 2, 1.5 * 32, 1e-4);  // 2 * 1 - 0.5 + column 0
  NEAR(box.right - box.left, 160, 1e-4);
}

TEST(wild_logits_stay_finite_and_what_is_no_number_is_no_object) {
  std::vector<float> values = one_object();
  values[2 * 4 + 2] = 1e30F;
  EQUAL(std::isfinite(decode_one(small_record(SizeRule::exponential, 1), values).at(0).box.right), true);
  values[4 * 4 + 2] = NAN;
  EQUAL(decode_one(small_record(SizeRule::exponential, 1), values).size(), 0U);
}

TEST(a_score_at_the_threshold_is_no_detection) {
  std::vector<float> values = one_object();
  values[4 * 4 + 2] = 0;  // objectness 0.5, class probability 1 to float precision
  EQUAL(decode_heads({{values.data(), 2, 2}}, small_record(SizeRule::exponential, 1), 0.5F).size(), 0U);
  EQUAL(decode_heads({{values.data(), 2, 2}}, small_record(SizeRule::exponential, 1), 0.49F).size(), 1U);
}

TEST(without_multi_label_a_box_is_its_best_class_and_of_equal_ones_the_first) {
  Record record = small_record(SizeRule::exponential, 1);
  record.class_names = {"a", "b", "c"};
  record.category_ids = {1, 2, 3};
  std::vector<float> values(8 * 4, 0.0F);  // every cell: objectness 0.5, class probabilities 0.5 but for those below
  values[6 * 4 + 1] = 2;                   // cell 1: b is the best
  values[7 * 4 + 2] = 2;                   // cell 2: c is the best
  values[4 * 4 + 3] = kFarBelow;           // cell 3: nothing
  EQUAL(decode_heads({{values.data(), 2, 2}}, record, 0.1F, true).size(), 9U);
  const Detections found = decode_heads({{values.data(), 2, 2}}, record, 0.1F, false);
  EQUAL(found.size(), 3U);
  EQUAL(found[0].label, 0);
  EQUAL(found[1].label, 1);
  EQUAL(found[2].label, 2);
  NEAR(found[2].score, 0.5 / (1 + std::exp(-2.0)), 1e-6);
  NEAR(found[1].box.left, 48 - 20, 1e-5);
  EQUAL(decode_heads({{values.data(), 2, 2}}, record, 0.4F, false).size(), 2U);
}

TEST(the_classes_of_a_cell_are_chosen_as_by_computing_every_score) {
  // What is skipped by its logit alone must be what its score would leave out, at every threshold.
  Record record = small_record(SizeRule::exponential, 1);
  record.class_names = {"a", "b", "c", "d", "e", "f", "g"};
  record.category_ids = {1, 2, 3, 4, 5, 6, 7};
  const auto sigmoid = [](double logit) { return 1 / (1 + std::exp(-logit)); };
  for (int seed = 0; seed < 2000; ++seed) {
    std::vector<float> values(12 * 4);
    for (std::size_t index = 0; index < values.size(); ++index) {
      const auto scattered = static_cast<int>((index * 7919 + static_cast<std::size_t>(seed) * 104729) % 2401);
      values[index] = static_cast<float>(scattered - 1200) / 100;
    }
    const double threshold = sigmoid((seed % 1600 - 800) / 100.0);
    std::size_t expected = 0;
    for (std::size_t cell = 0; cell < 4; ++cell) {
      for (std::size_t label = 0; label < 7; ++label) {
        const double score = sigmoid(values[4 * 4 + cell]) * sigmoid(values[(5 + label) * 4 + cell]);
        if (score > threshold) ++expected;
      }
    }
    EQUAL(decode_heads({{values.data(), 2, 2}}, record, static_cast<float>(threshold)).size(), expected);
  }
}

TEST(suppression_is_the_plain_loop_over_pairs) {
  Detections candidates;
  for (int index = 0; index < 600; ++index) {
    const auto left = static_cast<float>(index * 37 % 101);
    const auto top = static_cast<float>(index * 53 % 67);
    const auto width = static_cast<float>(5 + index * 11 % 40);
    candidates.push_back({{left, top, left + width, top + 12}, static_cast<float>(600 - index) / 600, index % 3});
  }
  candidates.push_back({{9, 9, 3, 3}, 0.0001F, 0});  // turned inside out: overlaps with nothing
  std::vector<Detection> expected;
  for (const Detection& one : candidates) {
    bool dropped = false;
    for (const Detection& better : expected) {
      const BoxXyxy both{std::max(one.box.left, better.box.left), std::max(one.box.top, better.box.top),
                         std::min(one.box.right, better.box.right), std::min(one.box.bottom, better.box.bottom)};
      const float sum = one.box.area() + better.box.area() - both.area();
      dropped = dropped || (one.label == better.label && both.area() > 0.4F * sum);
    }
    if (!dropped) expected.push_back(one);
  }
  const Detections kept = select_detections(candidates, 0.4F, 1000);
  EQUAL(kept.size(), expected.size());
  for (std::size_t index = 0; index < kept.size(); ++index) EQUAL(kept[index].score, expected[index].score);
}

TEST(a_weaker_box_of_the_same_class_is_dropped_when_the_overlap_is_over_the_threshold) {
  // 10 x 10 boxes shifted by 2.5: overlap 75, union 125, IoU 0.6.
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 0)}, 0.59F, 10).size(), 1U);
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 0)}, 0.61F, 10).size(), 2U);
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 1)}, 0.59F, 10).size(), 2U);
}

TEST(agnostic_a_box_is_dropped_by_a_better_one_of_any_class) {
  const Detections both = select_detections({at(0, 0.9F, 3), at(2.5F, 0.8F, 1)}, 0.59F, 10, true);
  EQUAL(both.size(), 1U);
  EQUAL(both[0].label, 3);
  EQUAL(select_detections({at(0, 0.9F, 3), at(2.5F, 0.8F, 1)}, 0.61F, 10, true).size(), 2U);
}

TEST(a_dropped_box_drops_no_other) {
  // Each overlaps the next with IoU 0.6, the outer two with 1/3.
  const Detections kept = select_detections({at(5, 0.7F, 0), at(0, 0.9F, 0), at(2.5F, 0.8F, 0)}, 0.5F, 10);
  EQUAL(kept.size(), 2U);
  EQUAL(kept[0].box.left, 0.0F);
  EQUAL(kept[1].box.left, 5.0F);
}

TEST(equal_scores_keep_their_order_and_the_best_are_kept) {
  const Detections kept = select_detections({at(0, 0.5F, 0), at(20, 0.5F, 0), at(40, 0.9F, 0)}, 0.5F, 2);
  EQUAL(kept.size(), 2U);
  EQUAL(kept[0].box.left, 40.0F);
  EQUAL(kept[1].box.left, 0.0F);
}

TEST(nothing_in_nothing_out) {
  EQUAL(select_detections({}, 0.5F, 300).size(), 0U);
}
