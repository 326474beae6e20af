"""OpenCV 4.10 and later: python with_opencv.py MODEL-decoded.onnx IMAGE (pip install opencv-python-headless).

The file is that of `lookonce export WEIGHTS --outputs decoded`: OpenCV 4 has no non-maximum suppression in graphs.
"""

import sys

import cv2
from steps import letterbox, read_image, record_in, select, show

if len(sys.argv) != 3:
    sys.exit(__doc__)
model, image = sys.argv[1:]
record = record_in(model)
network = cv2.dnn.readNetFromONNX(model)
canvas, to_image = letterbox(read_image(image), record)
network.setInput(canvas[None], "images")
boxes, scores = (value[0] for value in network.forward(["boxes_xyxy", "scores"]))
boxes, scores, labels = select(boxes, scores, record)
show(to_image(boxes), scores, labels, record)
