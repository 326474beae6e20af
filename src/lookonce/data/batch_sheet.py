"""A batch as one picture: every network input with its boxes."""

import cv2
import numpy as np

from lookonce.colors import class_color
from lookonce.data.loader import Batch
from lookonce.letterbox import ImageArray

CROWD_COLOR = (128, 128, 128)  # grey, which is the colour of no class
GAP_PIXELS = 4


def draw_sheet(batch: Batch, *, columns: int = 4) -> ImageArray:
    """The batch's images (B, H, W, 3) in a grid, boxes drawn on their outermost pixels; RGB."""
    count, height, width = batch.images.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP_PIXELS), columns * (width + GAP_PIXELS), 3), 255, dtype=np.uint8)
    for index in range(count):
        top, left = index // columns * (height + GAP_PIXELS), index % columns * (width + GAP_PIXELS)
        sheet[top : top + height, left : left + width] = draw_boxes(batch, index)
    return sheet


def draw_boxes(batch: Batch, index: int) -> ImageArray:
    """One image (H, W, 3) of the batch with its boxes; RGB."""
    canvas: ImageArray = batch.images[index].copy()
    own = batch.image_index == index
    for box, label, crowd in zip(batch.boxes_xyxy[own], batch.labels[own], batch.crowd[own], strict=True):
        left, top, right, bottom = (round(float(side)) for side in box)
        color = CROWD_COLOR if crowd else class_color(int(label))
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, thickness=1)
    return canvas
