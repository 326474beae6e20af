#pragma once

#include "lookonce/detections.h"

namespace lookonce {

/// Candidates -> the best detections, best first: src/lookonce/model/nms.py in C++.
///
/// Only the 2,000 best go on. Within a class a box is dropped when its IoU with a better kept one is over
/// iou_threshold; agnostic, with a better kept one of any class. Equal scores keep the order of the input.
Detections select_detections(Detections candidates, float iou_threshold, int max_detections, bool agnostic = false);

}  // namespace lookonce
