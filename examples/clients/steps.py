"""What an exported file leaves to its client, as docs/export.md defines it: letterbox, decoding, selection.

Written from that page alone; nothing here imports lookonce.
"""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np

INTERPOLATION = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
}


def arguments(usage):
    """The two words after the program's name; without them, the program ends with its usage."""
    if len(sys.argv) != 3:
        sys.exit(usage.strip())
    if not Path(sys.argv[1]).exists():
        sys.exit(f"{sys.argv[1]}: no such file or folder; {usage.strip()}")
    suffix = re.search(r"MODEL[\w-]*(\.\w+)", usage)[1]
    if Path(sys.argv[1]).suffix != suffix:
        sys.exit(f"{sys.argv[1]}: expected {suffix}; {usage.strip()}")
    return sys.argv[1:]


def read_image(path):
    """An upright image (h, w, 3) uint8 RGB; OpenCV applies the EXIF orientation itself."""
    image = cv2.imread(path)
    if image is None:
        raise SystemExit(f"{path}: cannot be read; expected an image file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def record_in(model):
    """The record of an .onnx file, for runtimes that do not hand out metadata: the value that follows its key."""
    after = Path(model).read_bytes().rpartition(b"lookonce_record")[2]
    return json.JSONDecoder().raw_decode(after[after.index(b"{") :].decode("utf-8", errors="ignore"))[0]


def letterbox(image, record):
    """Image (h, w, 3) -> network input (H, W, 3), and a function from boxes there to boxes in the image."""
    (h, w), (H, W), how = image.shape[:2], record["image_size"], record["preprocessing"]
    fitted_w, fitted_h = W, H
    if how["resize"] == "letterbox" and W * h <= H * w:
        fitted_h = max(1, (2 * h * W + w) // (2 * w))  # h * W / w, halves up
    elif how["resize"] == "letterbox":
        fitted_w = max(1, (2 * w * H + h) // (2 * h))
    left, top = (W - fitted_w) // 2, (H - fitted_h) // 2
    canvas = np.full((H, W, 3), how["pad_value"], np.uint8)
    resized = cv2.resize(image, (fitted_w, fitted_h), interpolation=INTERPOLATION[how["interpolation"]])
    canvas[top : top + fitted_h, left : left + fitted_w] = resized

    def to_image(boxes_xyxy):
        scale = np.array([fitted_w / w, fitted_h / h] * 2)  # one for each side: they differ by rounding
        return np.clip((boxes_xyxy - [left, top, left, top]) / scale, 0, [w, h, w, h])

    return canvas, to_image


def normalise(canvas, record):
    """(H, W, 3) uint8 RGB -> (1, 3, H, W) float32, for files exported with --no-preprocess."""
    how = record["preprocessing"]
    pixels = canvas[..., ::-1] if how["color_order"] == "BGR" else canvas
    values = (pixels.astype(np.float32) / 255 - np.float32(how["mean"])) / np.float32(how["std"])
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def decode(heads, record):
    """Raw heads (A * (5 + C), rows, columns) -> boxes_xyxy (N, 4) in pixels of the network input, scores (N, C)."""
    all_boxes, all_scores, dialect = [], [], record["dialect"]
    for raw, stride, mask in zip(heads, record["strides"], record["masks"]):
        anchors = np.array(record["anchors"])[list(mask)]
        rows, columns = raw.shape[1:]
        x, y, w, h, objectness, *classes = np.moveaxis(raw.reshape(len(anchors), -1, rows, columns), 1, 0)
        scale = dialect["center_scales"][str(stride)]
        center_x = (scale * sigmoid(x) - (scale - 1) / 2 + np.arange(columns)) * stride
        center_y = (scale * sigmoid(y) - (scale - 1) / 2 + np.arange(rows)[:, None]) * stride
        if dialect["size_rule"] == "square":
            w, h = (2 * sigmoid(w)) ** 2, (2 * sigmoid(h)) ** 2
        else:
            w, h = np.exp(np.minimum(w, 10)), np.exp(np.minimum(h, 10))
        w, h = w * anchors[:, 0, None, None], h * anchors[:, 1, None, None]
        boxes = np.stack([center_x - w / 2, center_y - h / 2, center_x + w / 2, center_y + h / 2])
        all_boxes.append(boxes.transpose(2, 3, 1, 0).reshape(-1, 4))
        both = sigmoid(objectness) * sigmoid(np.array(classes))  # (C, A, rows, columns)
        all_scores.append(both.transpose(2, 3, 1, 0).reshape(-1, len(classes)))
    return np.concatenate(all_boxes), np.concatenate(all_scores)


def select(boxes_xyxy, scores, record):
    """Decoded boxes (N, 4) and scores (N, C) -> boxes, scores, labels after non-maximum suppression."""
    known = record["thresholds"]
    candidates = scores > known["score"]
    if not known["multi_label"]:
        candidates &= np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    rows, labels = np.nonzero(candidates)
    order = np.argsort(-scores[rows, labels], kind="stable")[:2000]
    rows, labels = rows[order], labels[order]
    boxes, best, kept = boxes_xyxy[rows], scores[rows, labels], []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in range(len(boxes)):
        earlier = [k for k in kept if known["agnostic"] or labels[k] == labels[i]]
        sides = np.minimum(boxes[i, 2:], boxes[earlier, 2:]) - np.maximum(boxes[i, :2], boxes[earlier, :2])
        overlap = np.prod(np.maximum(sides, 0), axis=1)
        if not (overlap > known["iou"] * (areas[i] + areas[earlier] - overlap)).any():
            kept.append(i)
    kept = kept[: known["max_detections"]]
    return boxes[kept], best[kept], labels[kept]


def show(boxes_xyxy, scores, labels, record):
    """One line a detection: score, left, top, right, bottom, name. Boxes without an area in the image are dropped."""
    for (left, top, right, bottom), score, label in zip(boxes_xyxy, scores, labels):
        if right > left and bottom > top:
            print(f"{score:.6f} {left:.3f} {top:.3f} {right:.3f} {bottom:.3f} {record['class_names'][label]}")
