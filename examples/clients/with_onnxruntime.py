"""ONNX Runtime: python with_onnxruntime.py MODEL.onnx IMAGE (pip install onnxruntime opencv-python-headless)."""

import json
import sys
from pathlib import Path

import onnxruntime
from steps import letterbox, read_image, show

if len(sys.argv) != 3:
    sys.exit(__doc__)
model, image = sys.argv[1:]
session = onnxruntime.InferenceSession(Path(model).read_bytes())  # bytes: a path may load other files as weights
record = json.loads(session.get_modelmeta().custom_metadata_map["lookonce_record"])
canvas, to_image = letterbox(read_image(image), record)
boxes, scores, labels, _ = session.run(None, {"images": canvas[None]})
show(to_image(boxes), scores, labels, record)
