#include "lookonce/nms.h"

#include <algorithm>

namespace lookonce {
namespace {

constexpr std::size_t kMostCandidates = 2000;

float overlap_area(const BoxXyxy& a, const BoxXyxy& b) {
  return BoxXyxy{std::max(a.left, b.left), std::max(a.top, b.top), std::min(a.right, b.right),
                 std::min(a.bottom, b.bottom)}
      .area();
}

bool suppresses(const Detection& better, const Detection& worse, float iou_threshold) {
  if (better.label != worse.label) return false;
  const float overlap = overlap_area(better.box, worse.box);
  return overlap > iou_threshold * (better.box.area() + worse.box.area() - overlap);
}

}  // namespace

Detections select_detections(Detections candidates, float iou_threshold, int max_detections) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  candidates.resize(std::min(candidates.size(), kMostCandidates));
  Detections kept;
  for (const Detection& candidate : candidates) {
    if (kept.size() >= static_cast<std::size_t>(max_detections)) break;
    const bool dropped = std::any_of(kept.begin(), kept.end(), [&](const Detection& better) {
      return suppresses(better, candidate, iou_threshold);
    });
    if (!dropped) kept.push_back(candidate);
  }
  return kept;
}

}  // namespace lookonce
