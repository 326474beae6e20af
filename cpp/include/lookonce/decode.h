#pragma once

#include <cstdint>
#include <vector>

#include "lookonce/detections.h"
#include "lookonce/record.h"

namespace lookonce {

/// Raw output of one head for one image: (anchors * (5 + classes), rows, columns) logits.
struct HeadMap {
  const float* values = nullptr;
  int rows = 0, columns = 0;
};

/// Boxes and classes whose objectness * class probability is over score_threshold, in the order of the reference:
/// heads, rows, columns, anchors, classes; without multi_label the best class alone of each box, the first of equal
/// ones. Boxes in pixels of the canvas.
///
/// centre, in cells: s * sigmoid(xy) - (s - 1) / 2 + cell with s the head's center_scale; size, in pixels:
/// exp(min(wh, 10)) * anchor, or (2 * sigmoid(wh))^2 * anchor.
Detections decode_heads(const std::vector<HeadMap>& maps, const Record& record, float score_threshold,
                        bool multi_label = true);

}  // namespace lookonce
