#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "lookonce/backend.h"
#include "lookonce/detections.h"
#include "lookonce/letterbox.h"
#include "lookonce/images.h"

namespace lookonce {

/// Thresholds that are given instead of the record's. A score given here holds for every class.
struct DetectorOptions {
  std::optional<float> score_threshold, iou_threshold;
  std::optional<int> max_detections;
  std::optional<bool> multi_label, agnostic;
};

/// Images of any size in, detections in their own pixels out: src/lookonce/runtimes/detector.py in C++.
///
/// One thread's own; several may share one Backend, which must outlive them.
class Detector {
 public:
  explicit Detector(Backend& backend, const DetectorOptions& options = {});

  /// Best first, inside the image; boxes without area there are left out.
  Detections detect(const Image& image) { return detect({&image, 1}).front(); }

  /// The three steps of `detect`, for several images at once.
  struct Images {
    const Image* first;
    int count;
  };
  std::vector<Detections> detect(Images images);

  /// Images -> canvases inside this object.
  void prepare(Images images);
  /// The network on the prepared canvases; its raw outputs stay until the next call, one list of heads per image.
  const std::vector<std::vector<HeadMap>>& infer();
  /// Raw outputs -> detections in pixels of the images.
  [[nodiscard]] std::vector<Detections> select() const;

  [[nodiscard]] const Record& record() const { return backend_.record(); }
  [[nodiscard]] const std::vector<std::uint8_t>& canvases() const { return canvases_; }

 private:
  [[nodiscard]] bool over_threshold(const Detection& one) const {
    return one.score > class_scores_[static_cast<std::size_t>(one.label)];
  }
  [[nodiscard]] Detections finish(Detections found, const Placement& placement) const;

  Backend& backend_;
  std::unique_ptr<Lane> lane_;
  float iou_threshold_;
  int max_detections_;
  bool multi_label_, agnostic_;
  std::vector<float> class_scores_;  // the lowest score shown of each class
  float lowest_score_;
  std::vector<std::uint8_t> canvases_;
  std::vector<float> floats_;
  std::vector<Placement> placements_;
  std::vector<std::vector<HeadMap>> maps_;
};

}  // namespace lookonce
