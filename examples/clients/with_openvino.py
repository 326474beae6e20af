"""OpenVINO: python with_openvino.py MODEL.xml IMAGE (pip install openvino opencv-python-headless)."""

import json
import sys

import numpy as np
import openvino
from steps import letterbox, read_image, show

if len(sys.argv) != 3:
    sys.exit(__doc__)
path, image = sys.argv[1:]
model = openvino.Core().read_model(path)
record = json.loads(model.get_rt_info("lookonce_record").astype(str))
# Processors with bfloat16 would compute in it, which moves boxes by pixels.
network = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
canvas, to_image = letterbox(read_image(image), record)
known = record["thresholds"]  # OpenVINO has no default values of inputs
found = network(
    {
        "images": canvas[None],
        "score_threshold": np.float32(known["score"]),
        "iou_threshold": np.float32(known["iou"]),
        "max_detections": np.int64(known["max_detections"]),
    }
)
show(to_image(found["boxes_xyxy"]), found["scores"], found["labels"], record)
