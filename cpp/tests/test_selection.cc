// Decoding and suppression on boxes that can be checked by hand.

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

TEST(a_weaker_box_of_the_same_class_is_dropped_when_the_overlap_is_over_the_threshold) {
  // 10 x 10 boxes shifted by 2.5: overlap 75, union 125, IoU 0.6.
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 0)}, 0.59F, 10).size(), 1U);
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 0)}, 0.61F, 10).size(), 2U);
  EQUAL(select_detections({at(0, 0.9F, 0), at(2.5F, 0.8F, 1)}, 0.59F, 10).size(), 2U);
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
