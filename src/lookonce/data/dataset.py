"""One split of a data set in memory: paths and flat arrays, the same for every format."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import DataError
from lookonce.settings.names import counted

OF_BOXES = ("boxes_xyxy", "labels", "crowd", "areas")  # the arrays with one entry per box


def offsets_of(box_counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N,) number of boxes of each image -> (N + 1,) `box_offsets` of a Dataset."""
    return np.concatenate([[0], np.cumsum(box_counts)]).astype(np.int64)


def columns(of: object, rows: NDArray[np.bool_] | NDArray[np.int64]) -> dict[str, Any]:
    """Those entries of the arrays OF_BOXES of a data set, annotations, or UnfoundBoxes."""
    return {name: getattr(of, name)[rows] for name in OF_BOXES}


def joined_columns(parts: Sequence[object]) -> dict[str, Any]:
    """The arrays OF_BOXES of several data sets, one after the other."""
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in OF_BOXES}


@dataclass(frozen=True, kw_only=True)
class UnfoundBoxes:
    """K boxes as written that no detection matches: without an area, or outside their image."""

    image_rows: NDArray[np.int64]  # (K,)
    boxes_xyxy: NDArray[np.float64]  # (K, 4)
    labels: NDArray[np.int64]  # (K,)
    crowd: NDArray[np.bool_]  # (K,)
    areas: NDArray[np.float64]  # (K,) pixels


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """N images with M boxes. The boxes of image i are rows box_offsets[i]:box_offsets[i + 1].

    boxes_xyxy are pixels of the upright image, clipped to it, all with an area. A `crowd` box (COCO iscrowd, VOC
    difficult) is neither learned nor counted as missed. `areas` decide small, medium and large, as in COCO:
    the annotation's own area where it has one, else width * height. `never_found`: boxes that are not among these, and
    that COCO's metric counts as missed: see `with_never_found`.
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
    own_ids: Sequence[int | str] = ()  # N ids of the annotations where these are not int64; image_ids are then 1..N
    never_found: UnfoundBoxes | None = None

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def box_counts(self) -> NDArray[np.int64]:
        """(N,) number of boxes of each image."""
        return np.diff(self.box_offsets)

    @property
    def image_rows(self) -> NDArray[np.int64]:
        """(M,) row of each box's image, 0..N-1, ascending."""
        return np.repeat(np.arange(len(self)), self.box_counts)

    @property
    def num_background(self) -> int:
        """Number of images without boxes."""
        return int((self.box_counts == 0).sum())

    def rows(self, index: int) -> slice:
        """Rows of the boxes of image `index` in the flat arrays."""
        return slice(int(self.box_offsets[index]), int(self.box_offsets[index + 1]))

    def head(self, count: int) -> "Dataset":
        """The first `count` images, or all if there are fewer."""
        return self.take(range(min(count, len(self))))

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> "Dataset":
        """The images `indices` with their boxes, in this order."""
        images = np.asarray(indices, dtype=np.int64)
        counts = self.box_counts[images]
        offsets = offsets_of(counts)
        # For each selected box: the first row of its image's boxes, plus its index among them.
        boxes = np.repeat(self.box_offsets[:-1][images] - offsets[:-1], counts) + np.arange(offsets[-1])
        unfound = self.never_found
        if unfound is not None:
            new_rows = np.full(len(self), -1, dtype=np.int64)
            new_rows[images] = np.arange(len(images))
            kept = new_rows[unfound.image_rows] >= 0
            unfound = UnfoundBoxes(image_rows=new_rows[unfound.image_rows[kept]], **columns(unfound, kept))
        return replace(
            self,
            image_paths=[self.image_paths[row] for row in images.tolist()],
            image_ids=self.image_ids[images],
            own_ids=[self.own_ids[row] for row in images.tolist()] if self.own_ids else (),
            image_sizes_wh=self.image_sizes_wh[images],
            box_offsets=offsets,
            never_found=unfound,
            **columns(self, boxes),
        )

    def with_never_found(self) -> "Dataset":
        """The data set for COCO's metric, with the boxes of `never_found` after the others of their image.

        pycocotools counts every annotation as an object, also one that no detection can match. Not for training.
        """
        more = self.never_found
        if more is None:
            return self
        rows = np.concatenate([self.image_rows, more.image_rows])
        order = np.argsort(rows, kind="stable")
        return replace(
            self,
            box_offsets=offsets_of(np.bincount(rows, minlength=len(self))),
            never_found=None,
            **{name: array[order] for name, array in joined_columns([self, more]).items()},
        )


def require_boxes(dataset: Dataset) -> None:
    """DataError unless the data set has at least one box that is not a crowd box."""
    if not len(dataset.labels) or bool(dataset.crowd.all()):
        crowd = f", {len(dataset.crowd)} of them crowd or difficult" if len(dataset.crowd) else ""
        raise DataError(
            f"split {dataset.split!r}: {counted(len(dataset), 'image')} with "
            f"{counted(len(dataset.labels), 'box')}{crowd}; expected at least "
            "one box that is not crowd; are the annotations where lookonce expects them? See docs/data.md",
            setting="split",
            value=dataset.split,
        )


def data_hash(dataset: Dataset) -> str:
    """SHA-256 (hex) of image names and sizes, boxes, labels, crowd flags and class names, in their order.

    Independent of format and folder: only file names count, and boxes are rounded to 0.001 pixel, so that the last bit
    of a division does not matter.
    """
    digest = hashlib.sha256()
    digest.update("\0".join(dataset.class_names).encode(errors="backslashreplace") + b"\1")
    digest.update("\0".join(path.name for path in dataset.image_paths).encode(errors="backslashreplace") + b"\1")
    for array in (
        dataset.image_sizes_wh.astype("<i8"),
        dataset.box_offsets.astype("<i8"),
        np.rint(dataset.boxes_xyxy * 1000).astype("<i8"),
        dataset.labels.astype("<i8"),
        dataset.crowd.astype("<u1"),
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
