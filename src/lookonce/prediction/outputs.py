"""Writes detections image by image: JSON, COCO results, JSON Lines, CSV, YOLO text. Memory use stays constant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from lookonce.boxes import xyxy_to_cxcywh, xyxy_to_xywh
from lookonce.prediction.result import PredictedImage
from lookonce.settings.record import ModelRecord
from lookonce.shown import to_json, write_csv
from lookonce.storage import os_errors_explained

LABELS = "labels"  # folder of the YOLO label files, as that format names it


class Output(Protocol):
    """An open result file. `finish` receives the unreadable images: name -> error message; `close` follows in any case,
    and removes what was not finished."""

    def add(self, image: PredictedImage) -> None: ...

    def finish(self, failed: Mapping[str, str]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What result files share. head: metadata such as weights, class names and thresholds."""

    folder: Path
    record: ModelRecord
    head: Mapping[str, Any]


class JsonFile:
    """detections.json: the head, one line per image, and the images that failed."""

    def __init__(self, context: Context) -> None:
        self._record = context.record
        self._file = _NewFile(context.folder / "detections.json")
        self._file.write(f'{_dumps(context.head)[:-1]},\n"images": ')
        self._rows = _Rows(self._file)

    def add(self, image: PredictedImage) -> None:
        self._rows.add(image.to_dict())

    def finish(self, failed: Mapping[str, str]) -> None:
        self._rows.end()
        self._file.write(',\n"failed": ')
        rows = _Rows(self._file)
        for name, error in failed.items():
            rows.add({"file": name, "error": error})
        rows.end()
        self._file.publish("}\n")

    def close(self) -> None:
        self._file.close()


class CocoFile:
    """results.json: COCO's results format, with the category ids of the training data."""

    def __init__(self, context: Context) -> None:
        self._record = context.record
        self._file = _NewFile(context.folder / "results.json")
        self._rows = _Rows(self._file)

    def add(self, image: PredictedImage) -> None:
        for row in coco_rows(image, self._record):
            self._rows.add(row)

    def finish(self, _failed: Mapping[str, str]) -> None:
        self._rows.end()
        self._file.publish("\n")

    def close(self) -> None:
        self._file.close()


class JsonLinesFile:
    """detections.jsonl: one line per image, flushed at once for programs that follow the file."""

    def __init__(self, context: Context) -> None:
        self._record = context.record
        self._path = context.folder / "detections.jsonl"
        self._file = _open_new(self._path)

    def add(self, image: PredictedImage) -> None:
        with os_errors_explained(self._path):
            self._file.write(_dumps(image.to_dict()) + "\n")
            self._file.flush()

    def finish(self, failed: Mapping[str, str]) -> None:
        with os_errors_explained(self._path):
            self._file.writelines(_dumps({"file": name, "error": error}) + "\n" for name, error in failed.items())
            self._file.close()

    def close(self) -> None:
        _close(self._file)


CSV_COLUMNS = ("file", "image_id", "frame", "seconds", "width", "height", "class", "label", "score")
CSV_BOX_COLUMNS = ("left", "top", "right", "bottom", "track")


class CsvFile:
    """detections.csv: one line per detection; frame, seconds and track are empty where they do not apply."""

    def __init__(self, context: Context) -> None:
        self._record = context.record
        self._path = context.folder / "detections.csv"
        self._file = _open_new(self._path)
        write_csv(self._file, [(*CSV_COLUMNS, *CSV_BOX_COLUMNS)])

    def add(self, image: PredictedImage) -> None:
        entry = image.to_dict()
        with os_errors_explained(self._path):
            for values in (entry | one for one in entry["detections"]):
                cells = [*map(values.get, CSV_COLUMNS), *values["box_xyxy"], values.get("track")]
                write_csv(self._file, [cells])
            self._file.flush()

    def finish(self, _failed: Mapping[str, str]) -> None:
        with os_errors_explained(self._path):
            self._file.close()

    def close(self) -> None:
        _close(self._file)


class YoloFiles:
    """labels/NAME.txt for each image: lines `label x y width height score [track]`; box centre and size relative to the
    image size, 0..1."""

    def __init__(self, context: Context) -> None:
        self._folder = context.folder / LABELS
        self._taken: set[Path] = set()

    def add(self, image: PredictedImage) -> None:
        path = self._folder / self._free(image)
        with os_errors_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in yolo_lines(image)), encoding="utf-8")

    def _free(self, image: PredictedImage) -> Path:
        """a.txt for a.jpg; a.png.txt for an a.png in the same folder."""
        place = image.place.with_suffix(".txt")
        if image.frame is not None:
            return place
        if place in self._taken:
            place = image.place.with_name(f"{image.place.name}.txt")
        self._taken.add(place)
        return place

    def finish(self, _failed: Mapping[str, str]) -> None:
        """Nothing is left to do: `add` completes each file."""

    def close(self) -> None:
        """No file is open."""


# Value of --save -> its writers. `images` and `crops` need the images themselves: prediction/renderer.py.
TEXT_OUTPUTS: dict[str, tuple[Callable[[Context], Output], ...]] = {
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
        for open_output in (writer for word in words for writer in TEXT_OUTPUTS.get(word, ())):
            outputs.append(open_output(context))
            stack.callback(outputs[-1].close)
        try:
            yield outputs
        except KeyboardInterrupt:
            _finish(outputs, failed)
            raise
        _finish(outputs, failed)


def _finish(outputs: Sequence[Output], failed: Mapping[str, str]) -> None:
    for output in outputs:
        output.finish(failed)


def coco_rows(image: PredictedImage, record: ModelRecord) -> list[dict[str, Any]]:
    """An image's entries in results.json."""
    found = image.detections
    boxes_xywh = xyxy_to_xywh(found.boxes_xyxy.astype(np.float64))
    return [
        {"image_id": image.image_id, "category_id": record.category_ids[label], "bbox": box, "score": score}
        for label, box, score in zip(found.labels.tolist(), boxes_xywh.tolist(), found.scores.tolist(), strict=True)
    ]


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


class _NewFile:
    """A text file written under a hidden temporary name; `publish` renames it to its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, path.with_name(f".{path.name}.new")
        self._file = _open_new(self._new)

    def write(self, text: str) -> None:
        with os_errors_explained(self._path):
            self._file.write(text)

    def publish(self, last: str) -> None:
        self.write(last)
        with os_errors_explained(self._path):
            self._file.close()
            self._new.replace(self._path)

    def close(self) -> None:
        _close(self._file)
        self._new.unlink(missing_ok=True)


class _Rows:
    """A JSON list, one entry per line."""

    def __init__(self, file: _NewFile) -> None:
        self._file, self._empty = file, True

    def add(self, row: Mapping[str, Any]) -> None:
        self._file.write(f"{'[' if self._empty else ','}\n{_dumps(row)}")
        self._empty = False

    def end(self) -> None:
        self._file.write("[]" if self._empty else "\n]")


def _open_new(path: Path) -> TextIO:
    with os_errors_explained(path):
        return path.open("w", encoding="utf-8", newline="")


def _close(file: TextIO) -> None:
    """Close a file that may hold text for which the disk has no space; the error of the write is on its way already."""
    with suppress(OSError):
        file.close()


def _dumps(value: Any) -> str:
    return to_json(value)
