"""`DataSource`: a data set on disk and its splits, which every format's `open` returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookonce.data.annotations import Annotations, assemble
from lookonce.data.box_conventions import BoxConvention
from lookonce.data.dataset import Dataset
from lookonce.data.findings import RaiseOnError, Report
from lookonce.data.headers import report_missing
from lookonce.data.links import report_links
from lookonce.errors import DataError
from lookonce.settings.names import counted, few, suggested_value

ReadSplit = Callable[[str, Report], Annotations]
SPLITS = ("train", "val", "test")
SPELLINGS = {"valid": "val", "validation": "val", "dev": "val"}


class DataSource:
    """A data set on disk. `split` reads a split on first use and keeps it.

    format: "coco", "voc", "yolo", "shards", "images" or "mixed" (a description of several formats). splits: names.
    """

    def __init__(
        self, origin: Path, format_name: str, splits: Sequence[str], read: ReadSplit, *, any_split: bool = False
    ) -> None:
        """any_split: `read` accepts names that are not in `splits`."""
        self.origin = origin
        self.format = format_name
        self.splits = tuple(splits)
        self._read = read
        self._any_split = any_split
        self.needs_images = True  # False: only annotations are needed, as for evaluating another program's results
        self.links_stay_in: Path | None = None  # a folder that symbolic links must not lead out of; None: they may
        self.boxes: BoxConvention | None = None  # another convention than that of the format, as the user says
        self.num_held_out: int | None = None  # images of train that became val; 0: none can; None: not tried
        self._loaded: dict[str, Dataset] = {}
        self._logged: set[str] = set()

    def __repr__(self) -> str:
        return f"DataSource({str(self.origin)!r}, {self.format}, {', '.join(self.splits)})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, in the order of the labels. Reads a split (val if there is one) if none has been read."""
        loaded = next(iter(self._loaded.values()), None) or self.split(
            "val" if "val" in self.splits else self.splits[0]
        )
        return loaded.class_names

    def split(self, name: str) -> Dataset:
        """One split. DataError at the first error; logs a warning for annotations that were left out or changed."""
        if name not in self._loaded:
            report = RaiseOnError(self.origin, logged=self._logged)
            self._loaded[name] = self.read(name, report)
            report.log()
        return self._loaded[name]

    def require_split(self, name: str) -> None:
        """DataError if the data set does not have the split."""
        if name not in self.splits and not self._any_split:
            hint = suggested_value(name, self.splits)
            problem = f"has no split {name!r}; choose one of {', '.join(self.splits)}{hint}"
            raise DataError.at(self.origin, problem, setting="split", value=name)

    def as_written(self, name: str, report: Report) -> Annotations:
        """One split before its boxes are checked, clipped and sorted; reports entries that cannot be read.

        Boxes of another convention (`boxes`) are converted.
        """
        self.require_split(name)
        found = self._read(name, report)
        if self.links_stay_in is not None and self.needs_images:
            report_links(found.image_paths, self.links_stay_in, report)
        if self.boxes is None:
            return found
        boxes_xyxy = self.boxes.undo(found.boxes_xyxy, found.box_sizes_wh).astype(np.float64)
        return replace(found, boxes_xyxy=boxes_xyxy, written="xyxy")

    def read(self, name: str, report: Report) -> Dataset:
        """One split, with every problem passed to `report`; read again on each call, and not kept."""
        return self.assemble(self.as_written(name, report), report)

    def assemble(self, found: Annotations, report: Report) -> Dataset:
        """A split as written -> the split as it is trained on."""
        dataset = assemble(found, report)
        if self.needs_images:
            report_missing(dataset.image_paths, found.origin, report)
        elif (unknown := (dataset.image_sizes_wh == 0).any(axis=1)).any():
            images = counted(int(unknown.sum()), "such image")
            problem = f"no such image file, and the annotations do not state its width and height ({images})"
            path = dataset.image_paths[int(unknown.argmax())]
            raise DataError.at(path, f"{problem}; set the image folder: --images FOLDER")
        for other in self._loaded.values():
            if other.class_names != dataset.class_names:
                raise DataError.at(
                    self.origin,
                    f"split {dataset.split!r} has the classes {few(dataset.class_names)}; expected those of split "
                    f"{other.split!r} in the same order: {few(other.class_names)}",
                )
        return dataset


def in_order(splits: Mapping[str, object]) -> list[str]:
    """train, val, test first, in that order."""
    return [split for split in SPLITS if split in splits] + sorted(split for split in splits if split not in SPLITS)
