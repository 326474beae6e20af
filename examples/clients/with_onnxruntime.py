"""ONNX Runtime: python with_onnxruntime.py MODEL.onnx IMAGE (pip install onnxruntime opencv-python-headless)."""

import json
from pathlib import Path

import onnxruntime
from steps import arguments, letterbox, read_image, show

model, image = arguments(__doc__)
session = onnxruntime.InferenceSession(Path(model).read_bytes())  # bytes: a path may load other files as weights
record = json.loads(session.get_modelmeta().custom_metadata_map["lookonce_record"])
canvas, to_image = letterbox(read_image(image), record)
boxes, scores, labels, _ = session.run(None, {"images": canvas[None]})
show(to_image(boxes), scores, labels, record)
