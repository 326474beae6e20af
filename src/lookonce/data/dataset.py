"""One split of a data set in memory: paths and flat arrays, whatever format it was read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """N pictures with M boxes. Boxes of picture i are rows box_offsets[i]:box_offsets[i + 1].

    boxes_xyxy are pixels of the upright picture, clipped to it, all with an area. A `crowd` box (COCO iscrowd, VOC
    difficult) is neither learned nor counted as missed. `areas` decide small, medium and large as COCO does:
    the annotation's own area where it has one, else width * height.
    """

    split: str
    image_paths: Sequence[Path]  # N
    image_ids: NDArray[np.int64]  # (N,) as in the annotations, or 1..N
    image_sizes_wh: NDArray[np.int32]  # (N, 2) pixels, upright
    box_offsets: NDArray[np.int64]  # (N + 1,)
    boxes_xyxy: NDArray[np.float64]  # (M, 4)
    labels: NDArray[np.int64]  # (M,) 0..C-1
    crowd: NDArray[np.bool_]  # (M,)
    areas: NDArray[np.float64]  # (M,) pixels
    class_names: tuple[str, ...]  # C
    category_ids: tuple[int, ...]  # C, the annotations' own ids

    def __len__(self) -> int:
        return len(self.image_paths)

    def rows(self, index: int) -> slice:
        """Where the boxes of picture `index` lie in the flat arrays."""
        return slice(int(self.box_offsets[index]), int(self.box_offsets[index + 1]))
