#pragma once

#include <string>
#include <vector>

#include "lookonce/detections.h"
#include "lookonce/images.h"

namespace lookonce {

/// A box and a tag for each detection, the best ones on top, in the colours of src/lookonce/prediction/draw.py.
///
/// Letters beyond ASCII's are drawn as boxes; a class whose name has no others is written "class 7".
void draw(Image& image, const Detections& detections, const std::vector<std::string>& class_names);

}  // namespace lookonce
