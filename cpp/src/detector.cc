#include "lookonce/detector.h"

#include <algorithm>
#include <utility>

#include "lookonce/decode.h"
#include "lookonce/errors.h"
#include "lookonce/nms.h"

namespace lookonce {
namespace {

std::vector<float> lowest_scores(const Record& record, const std::optional<float>& given) {
  const float general = given.value_or(record.thresholds.score);
  std::vector<float> scores(record.class_names.size(), general);
  if (given) return scores;
  for (std::size_t label = 0; label < scores.size(); ++label) {
    const auto own = record.thresholds.per_class_score.find(record.class_names[label]);
    if (own != record.thresholds.per_class_score.end()) scores[label] = own->second;
  }
  return scores;
}

std::size_t canvas_bytes(const Record& record) {
  return static_cast<std::size_t>(record.height) * static_cast<std::size_t>(record.width) * 3;
}

}  // namespace

Detector::Detector(Backend& backend, const DetectorOptions& options)
    : backend_(backend),
      lane_(backend.open_lane()),
      iou_threshold_(options.iou_threshold.value_or(backend.record().thresholds.iou)),
      max_detections_(options.max_detections.value_or(backend.record().thresholds.max_detections)),
      multi_label_(options.multi_label.value_or(backend.record().thresholds.multi_label)),
      agnostic_(options.agnostic.value_or(backend.record().thresholds.agnostic)),
      class_scores_(lowest_scores(backend.record(), options.score_threshold)),
      lowest_score_(*std::min_element(class_scores_.begin(), class_scores_.end())) {}

std::vector<Detections> Detector::detect(Images images) {
  prepare(images);
  infer();
  return select();
}

void Detector::prepare(Images images) {
  const std::size_t size = canvas_bytes(record());
  const int group = backend_.group();
  if (images.count < 1 || (group > 0 && images.count > group)) {
    throw Error("batch is " + std::to_string(images.count) + "; this model takes " +
                (group > 0 ? "1 to " + std::to_string(group) : "1 or more") + " images at once");
  }
  // A file for exactly so many gets what an earlier call left on the other canvases; their answers are not looked at.
  canvases_.resize(size * static_cast<std::size_t>(group > 0 ? group : images.count));
  placements_.clear();
  for (int index = 0; index < images.count; ++index) {
    placements_.push_back(fit_into(canvases_.data() + size * placements_.size(), images.first[index], record()));
  }
}

const std::vector<std::vector<HeadMap>>& Detector::infer() {
  const int count = backend_.group() > 0 ? backend_.group() : static_cast<int>(placements_.size());
  if (backend_.takes_pixels()) {
    maps_.assign(placements_.size(), lane_->run(canvases_.data(), count));
  } else {
    floats_.resize(canvases_.size());
    to_network_input(canvases_.data(), count, record(), floats_.data());
    maps_.assign(placements_.size(), lane_->run(floats_.data(), count));
  }
  for (std::size_t head = 0; head < record().heads.size(); ++head) {
    const HeadMap whole = maps_.front()[head];
    const auto size = static_cast<std::size_t>(record().channels(record().heads[head])) *
                      static_cast<std::size_t>(whole.rows) * static_cast<std::size_t>(whole.columns);
    for (std::size_t image = 0; image < maps_.size(); ++image) {
      maps_[image][head].values = whole.values + size * image;
    }
  }
  return maps_;
}

std::vector<Detections> Detector::select() const {
  std::vector<Detections> found;
  for (std::size_t image = 0; image < maps_.size(); ++image) {
    Detections candidates = decode_heads(maps_[image], record(), lowest_score_, multi_label_);
    if (agnostic_) {  // a box under the threshold of its own class must not suppress one of another class
      candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                      [this](const Detection& one) { return !over_threshold(one); }),
                       candidates.end());
    }
    found.push_back(finish(select_detections(std::move(candidates), iou_threshold_, max_detections_, agnostic_),
                           placements_[image]));
  }
  return found;
}

Detections Detector::finish(Detections found, const Placement& placement) const {
  Detections finished;
  for (Detection& detection : found) {
    if (!over_threshold(detection)) continue;
    detection.box = placement.to_original(detection.box);
    if (detection.box.area() > 0) finished.push_back(detection);
  }
  return finished;
}

}  // namespace lookonce
