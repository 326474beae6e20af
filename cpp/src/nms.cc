#include "lookonce/nms.h"

#include <algorithm>

namespace lookonce {
namespace {

constexpr std::size_t kMostCandidates = 2000;

/// The boxes of one class that have been kept, side by side by their sides: the compiler turns the loop over them into
/// vector instructions, and candidates of one class are compared with no other's.
class KeptBoxes {
 public:
  [[nodiscard]] bool suppress(const BoxXyxy& box, float iou_threshold) const {
    const float area = box.area();
    int suppressed = 0;  // by how many: to stop at the first would cost the vector instructions
    for (std::size_t index = 0; index < left_.size(); ++index) {
      const float width = std::min(right_[index], box.right) - std::max(left_[index], box.left);
      const float height = std::min(bottom_[index], box.bottom) - std::max(top_[index], box.top);
      const float overlap = std::max(width, 0.0F) * std::max(height, 0.0F);
      suppressed += static_cast<int>(overlap > iou_threshold * (area_[index] + area - overlap));
    }
    return suppressed > 0;
  }

  void add(const BoxXyxy& box) {
    left_.push_back(box.left);
    top_.push_back(box.top);
    right_.push_back(box.right);
    bottom_.push_back(box.bottom);
    area_.push_back(box.area());
  }

 private:
  std::vector<float> left_, top_, right_, bottom_, area_;
};

}  // namespace

Detections select_detections(Detections candidates, float iou_threshold, int max_detections, bool agnostic) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  candidates.resize(std::min(candidates.size(), kMostCandidates));
  std::vector<KeptBoxes> boxes;  // of each class; agnostic, of all
  Detections kept;
  for (const Detection& candidate : candidates) {
    if (kept.size() >= static_cast<std::size_t>(max_detections)) break;
    const std::size_t label = agnostic ? 0 : static_cast<std::size_t>(candidate.label);
    if (label >= boxes.size()) boxes.resize(label + 1);
    if (boxes[label].suppress(candidate.box, iou_threshold)) continue;
    boxes[label].add(candidate.box);
    kept.push_back(candidate);
  }
  return kept;
}

}  // namespace lookonce
