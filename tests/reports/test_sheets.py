"""Contact sheets."""

import numpy as np

from lookonce.detections import Detections
from lookonce.reports.sheets import MISTAKE_COLOR, _drawn


def test_red_frames_cover_no_box_and_no_tag() -> None:
    gray = np.full((440, 440, 3), 128, np.uint8)
    boxes_xyxy = np.array([[100, 100, 200, 200], [110, 90, 210, 190]], np.float32)
    boxes = Detections(boxes_xyxy=boxes_xyxy, scores=np.float32([0.9, 0.5]), labels=np.array([0, 0]))
    plain, framed = (_drawn(gray, boxes, ["cube"], framed=np.array(2 * [is_wrong])) for is_wrong in (False, True))
    is_drawn = (plain != gray).any(axis=-1)
    assert (framed[is_drawn] == plain[is_drawn]).all()
    assert (framed == MISTAKE_COLOR).all(axis=-1).sum() > 500
