#pragma once

#include <string>
#include <vector>

#include "lookonce/detections.h"
#include "lookonce/pictures.h"

namespace lookonce {

/// A box and a tag for each detection, the best ones on top, in the colours of src/lookonce/prediction/draw.py.
///
/// A class whose name has other letters than ASCII's is written "class 7".
void draw(Picture& picture, const Detections& detections, const std::vector<std::string>& class_names);

}  // namespace lookonce
