"""Copy-paste: boxes of other training images, with their pixels, for the network inputs of a batch.

The plan of a batch is drawn before any image is read, from (seed, epoch, position); `compose` executes it.
Sources: Dwibedi et al. 2017 (cut, paste and learn); Ghiasi et al. 2021 (copy-paste of masks).
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, area_xyxy
from lookonce.data.augment import DRAWS_PER_TILE, MIN_SIDE_PIXELS, Augmentation, AugmentationParams, params_of
from lookonce.data.compose import PARTNER_WINDOW, BatchTargets, Pastes
from lookonce.data.dataset import Dataset
from lookonce.data.order import PASTED, EpochOrder

# Boxes tried for a network input; those that would cover another one are left out.
TRIED = 3
# Part of another box that a pasted one covers at most; nothing of a crowd box, which stands for many objects.
MAX_COVER = 0.3
# Of a box: the position of its image, which of the boxes there, and the parameters of a tile.
_DRAWS = 2 + DRAWS_PER_TILE


def plan_pastes(
    order: EpochOrder,
    positions: range,
    dataset: Dataset,
    targets: BatchTargets,
    canvas_wh: NDArray[np.integer],
    augmentation: Augmentation,
    resize: str,
) -> Pastes:
    """The boxes to paste into the network inputs at `positions`, which have the boxes `targets`."""
    draws = order.draws(positions, 1 + TRIED * _DRAWS, PASTED)
    of_boxes = draws[:, 1:].reshape(-1, TRIED, _DRAWS)
    distance = (of_boxes[..., 0] * min(PARTNER_WINDOW, order.num_images)).astype(np.int64)
    rows = order.rows((np.array(positions)[:, None] - distance) % order.num_images)  # (B, TRIED)
    first, counts = dataset.box_offsets[rows], np.diff(dataset.box_offsets)[rows]
    boxes = first + (of_boxes[..., 1] * counts).astype(np.int64)

    inputs, tries = np.nonzero((draws[:, :1] < augmentation.copy_paste) & (counts > 0))
    rows, boxes = rows[inputs, tries], boxes[inputs, tries]
    params = params_of(of_boxes[inputs, tries, 2:], augmentation)
    rectangles, corners = _places(dataset, rows, boxes, params, canvas_wh, resize)
    sides = corners[:, 2:] - corners[:, :2]
    usable = ~dataset.crowd[boxes] & (sides.min(1) >= MIN_SIDE_PIXELS) & (rectangles[:, 1, :2] >= 0).all(1)
    kept = _without_cover(inputs, tries, rectangles[:, 1], usable, targets)
    return Pastes(
        rows=rows[kept],
        rectangles=rectangles[kept],
        flip=params.flip[kept],
        color=params.color[kept],
        targets=BatchTargets(
            boxes_xyxy=corners[kept],
            labels=dataset.labels[boxes[kept]],
            crowd=np.zeros(len(kept), np.bool_),
            image_index=inputs[kept],
        ),
    )


def _places(
    dataset: Dataset,
    rows: NDArray[np.int64],
    boxes: NDArray[np.int64],
    params: AugmentationParams,
    canvas_wh: NDArray[np.integer],
    resize: str,
) -> tuple[NDArray[np.int64], Floats]:
    """(K, 2, 4) source and target rectangles as in `plan_crop_paste`, and the boxes (K, 4) in the network input.

    A rectangle that is larger than the network input gets a negative left or top.
    """
    low, high = np.floor(dataset.boxes_xyxy[boxes, :2]), np.ceil(dataset.boxes_xyxy[boxes, 2:])
    fitted = canvas_wh / np.maximum(dataset.image_sizes_wh[rows], 1)  # (0, 0) of a damaged image
    if resize != "stretch":
        fitted = fitted.min(1, keepdims=True)
    root = np.sqrt(params.aspect)
    scaled = np.rint((high - low) * fitted * np.stack([root, 1 / root], 1) * params.scale[:, None])
    room = canvas_wh - scaled
    start = np.where(room < 0, -1, np.rint(params.place_xy * room))
    corners = (dataset.boxes_xyxy[boxes] - np.tile(low, 2)) * np.tile(scaled / (high - low), 2)
    mirrored = scaled[:, :1] - corners[:, [2, 0]]
    corners[:, [0, 2]] = np.where(params.flip[:, None], mirrored, corners[:, [0, 2]])
    rectangles = np.concatenate([low, high, start, start + scaled], 1).astype(np.int64).reshape(-1, 2, 4)
    return rectangles, corners + np.tile(start, 2)


def _without_cover(
    inputs: NDArray[np.int64],
    tries: NDArray[np.int64],
    rectangles: NDArray[np.int64],
    usable: NDArray[np.bool_],
    targets: BatchTargets,
) -> NDArray[np.int64]:
    """The rows, ascending, of the rectangles that cover neither `targets` nor one pasted before by too much."""
    others, of_input = targets.boxes_xyxy, targets.image_index
    limits = np.where(targets.crowd, 0, MAX_COVER * area_xyxy(others))
    kept = []
    for each in range(TRIED):
        tried = np.flatnonzero(usable & (tries == each))  # at most one of each input
        windows = np.zeros((inputs.max(initial=0) + of_input.max(initial=0) + 1, 4))
        windows[inputs[tried]] = rectangles[tried]
        own = windows[of_input]
        overlap = np.concatenate([np.maximum(own[:, :2], others[:, :2]), np.minimum(own[:, 2:], others[:, 2:])], 1)
        free = tried[~np.isin(inputs[tried], of_input[area_xyxy(overlap) > limits])]
        kept.append(free)
        others, of_input = np.concatenate([others, rectangles[free]]), np.concatenate([of_input, inputs[free]])
        limits = np.concatenate([limits, MAX_COVER * area_xyxy(rectangles[free].astype(np.float64))])
    return np.sort(np.concatenate(kept))
