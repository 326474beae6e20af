"""OpenCV 4.10 and later: python with_opencv.py MODEL-decoded.onnx IMAGE (pip install opencv-python-headless).

The file is that of `lookonce export WEIGHTS --outputs decoded`: OpenCV 4 has no non-maximum suppression in graphs.
"""

import cv2
from steps import arguments, letterbox, read_image, record_in, select, show

model, image = arguments(__doc__)
record = record_in(model)
network = cv2.dnn.readNetFromONNX(model)
if len(network.getUnconnectedOutLayersNames()) != 2:
    raise SystemExit(f"{model}: has other outputs than boxes and scores; {__doc__.strip()}")
canvas, to_image = letterbox(read_image(image), record)
network.setInput(canvas[None], "images")
boxes, scores = (value[0] for value in network.forward(["boxes_xyxy", "scores"]))
boxes, scores, labels = select(boxes, scores, record)
show(to_image(boxes), scores, labels, record)
