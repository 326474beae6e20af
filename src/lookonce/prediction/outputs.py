"""Writes detections image by image: JSON, COCO results, JSON Lines, CSV, YOLO text. Memory use stays constant."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.boxes import xyxy_to_cxcywh, xyxy_to_xywh
from lookonce.log import get_logger
from lookonce.prediction.result import PredictedImage
from lookonce.settings.record import ModelRecord
from lookonce.shown import to_json, write_csv
from lookonce.storage import make_folder, os_errors_explained

LABELS = "labels"  # folder of the YOLO label files, as that format names it
CSV_COLUMNS = ("file", "image_id", "frame", "seconds", "width", "height", "class", "label", "score")
CSV_BOX_COLUMNS = ("left", "top", "right", "bottom", "track")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What result files share. head: metadata such as weights, class names and thresholds."""

    folder: Path
    record: ModelRecord
    head: Mapping[str, Any]


class Output(ABC):
    """An open result file. `finish` receives the unreadable images: name -> error message; `close` follows in any case,
    and removes what was not finished. name: of the file; follows: it appears at once, for programs that follow it, else
    when it is complete."""

    name = ""
    follows = False

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = context.folder / self.name
        self._written = self._path if self.follows else self._path.with_name(f".{self.name}.new")
        self._is_empty = True
        with os_errors_explained(self._path):
            self._file = self._written.open("w", encoding="utf-8", newline="")

    @abstractmethod
    def add(self, image: PredictedImage) -> None:
        """Add the detections of an image."""

    def finish(self, failed: Mapping[str, str]) -> None:  # noqa: ARG002
        with os_errors_explained(self._path):
            self._file.close()
            self._written.replace(self._path)

    def close(self) -> None:
        with suppress(OSError):  # a full disk, whose error is on its way already
            self._file.close()
        if not self.follows:
            self._written.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        with os_errors_explained(self._path):
            self._file.write(text)
            if self.follows:
                self._file.flush()

    def write_row(self, row: Mapping[str, Any]) -> None:
        """The next entry of a JSON list, one per line."""
        self.write(f"{'[' if self._is_empty else ','}\n{to_json(row)}")
        self._is_empty = False

    def end_rows(self) -> None:
        self.write("[]" if self._is_empty else "\n]")
        self._is_empty = True


class JsonFile(Output):
    """detections.json: the head, one line per image, and the images that failed."""

    name = "detections.json"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.write(f'{to_json(context.head)[:-1]},\n"images": ')

    def add(self, image: PredictedImage) -> None:
        self.write_row(image.to_dict())

    def finish(self, failed: Mapping[str, str]) -> None:
        self.end_rows()
        self.write(',\n"failed": ')
        for name, error in failed.items():
            self.write_row({"file": name, "error": error})
        self.end_rows()
        self.write("}\n")
        super().finish(failed)


class CocoFile(Output):
    """results.json: COCO's results format, with the category ids of the training data."""

    name = "results.json"

    def add(self, image: PredictedImage) -> None:
        found, ids = image.detections, self._context.record.category_ids
        boxes_xywh = xyxy_to_xywh(found.boxes_xyxy.astype(np.float64)).tolist()
        for label, box, score in zip(found.labels.tolist(), boxes_xywh, found.scores.tolist(), strict=True):
            self.write_row({"image_id": image.image_id, "category_id": ids[label], "bbox": box, "score": score})

    def finish(self, failed: Mapping[str, str]) -> None:
        self.end_rows()
        self.write("\n")
        super().finish(failed)


class JsonLinesFile(Output):
    """detections.jsonl: one line per image."""

    name = "detections.jsonl"
    follows = True

    def add(self, image: PredictedImage) -> None:
        self.write(to_json(image.to_dict()) + "\n")

    def finish(self, failed: Mapping[str, str]) -> None:
        for name, error in failed.items():
            self.write(to_json({"file": name, "error": error}) + "\n")
        super().finish(failed)


class CsvFile(Output):
    """detections.csv: one line per detection; frame, seconds and track are empty where they do not apply."""

    name = "detections.csv"
    follows = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        write_csv(self._file, [(*CSV_COLUMNS, *CSV_BOX_COLUMNS)])

    def add(self, image: PredictedImage) -> None:
        entry = image.to_dict()
        lines = (entry | one for one in entry["detections"])
        rows = ([*map(line.get, CSV_COLUMNS), *line["box_xyxy"], line.get("track")] for line in lines)
        with os_errors_explained(self._path):
            write_csv(self._file, rows)
            self._file.flush()


class YoloFiles(Output):
    """labels/NAME.txt for each image: lines `label x y width height score [track]`; box centre and size relative to the
    image size, 0..1."""

    def __init__(self, context: Context) -> None:
        self._folder = context.folder / LABELS
        self._taken: set[Path] = set()

    def add(self, image: PredictedImage) -> None:
        place = image.place.with_suffix(".txt")
        if image.frame is None:
            if place in self._taken:  # a.png.txt for an a.png beside an a.jpg
                place = image.place.with_name(f"{image.place.name}.txt")
            self._taken.add(place)
        path = self._folder / place
        make_folder(path.parent)
        with os_errors_explained(path):
            path.write_text("".join(f"{line}\n" for line in yolo_lines(image)), encoding="utf-8")

    def finish(self, _failed: Mapping[str, str]) -> None:
        """Nothing is left to do: `add` completes each file."""

    def close(self) -> None:
        """No file is open."""


# Value of --save -> its writers. `images` and `crops` need the images themselves: prediction/renderer.py.
TEXT_OUTPUTS: dict[str, tuple[type[Output], ...]] = {
    "json": (JsonFile, CocoFile),
    "jsonl": (JsonLinesFile,),
    "csv": (CsvFile,),
    "yolo": (YoloFiles,),
}


@contextmanager
def open_outputs(words: Sequence[str], context: Context, failed: Mapping[str, str]) -> Iterator[list[Output]]:
    """The outputs for these values of --save. They are finished when the block ends, also by Ctrl-C; after an
    error no JSON file appears."""
    outputs: list[Output] = []
    with ExitStack() as stack:
        for kind in (kind for word in words for kind in TEXT_OUTPUTS.get(word, ())):
            outputs.append(kind(context))
            stack.callback(outputs[-1].close)
        try:
            yield outputs
        except KeyboardInterrupt:
            _finish(outputs, failed)
            get_logger().warning("%s: has only the results of the images before the interruption", context.folder)
            raise
        _finish(outputs, failed)


def _finish(outputs: Sequence[Output], failed: Mapping[str, str]) -> None:
    for output in outputs:
        output.finish(failed)


def yolo_lines(image: PredictedImage) -> list[str]:
    """An image's lines, best first; with tracking, the track ID comes last (0: no track)."""
    found = image.detections
    parts = xyxy_to_cxcywh(found.boxes_xyxy.astype(np.float64)) / np.tile(np.array(image.size_wh), 2)
    lines = [
        f"{label} {' '.join(f'{part:.6f}' for part in row)} {score:.6f}"
        for label, row, score in zip(found.labels, parts, found.scores, strict=True)
    ]
    if image.track_ids is None:
        return lines
    return [f"{line} {track}" for line, track in zip(lines, image.track_ids, strict=True)]
