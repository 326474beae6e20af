"""`lookonce predict`: what a detector finds in pictures, drawn and written down."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.console import Console

from lookonce.boxes import xyxy_to_xywh
from lookonce.config.record import ModelRecord
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, logging_to, progress_bar
from lookonce.prediction.draw import draw
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.predictor import predict as predict_pictures
from lookonce.prediction.sources import PictureSource, find_pictures
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.storage import explained_write, make_run_folder, write_file
from lookonce.workflows.load import load_runtime

# Other kinds (GIF, TIFF ...) are drawn as JPEG, under their full name and .jpg.
DRAWN_SUFFIXES = (".jpg", ".jpeg", ".png")
JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class PredictedPicture:
    """What was found in one picture. size_wh and boxes are pixels of the upright picture."""

    name: str
    image_id: int
    size_wh: tuple[int, int]
    detections: Detections


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """failed: name -> why that picture could not be read. exit_code 1 when there is one."""

    output: Path
    pictures: tuple[PredictedPicture, ...]
    failed: dict[str, str]
    seconds: float

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0


def predict(
    source: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    weights: Path,
    threshold: float | None = None,
    output: Path | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    pictures: Annotated[bool, Parameter(negative="--no-pictures")] = True,
    device: str = "auto",
    runtime: str = "auto",
) -> Predicted:
    """Find objects in pictures; draw them, and write detections.json and results.json (COCO).

    A picture that cannot be read is reported and the others are done; the exit status is 1 then.

    Parameters
    ----------
    source
        A picture, a folder with its subfolders, a pattern ("street/*.jpg"), a .txt file with a path on each line, or -
        for the bytes of one picture on standard input.
    weights
        Exported file, checkpoint folder or run folder (its best).
    threshold
        Lowest score that is shown, 0 to 1; without it, that of the weights.
    output
        Folder to write into; without it runs/predict-1, runs/predict-2 and so on.
    iou_threshold
        Overlap above which the weaker of two boxes of a class is dropped; without it, that of the weights.
    max_detections
        At most so many a picture; without it, that of the weights.
    pictures
        Draw the pictures, or write the JSON files alone.
    device
        Where a checkpoint runs: auto, cpu, cuda, cuda:1, npu. Exported files run on the processor.
    runtime
        What runs the weights: auto for the file's own, or one that reads it: onnxruntime, openvino, opencv ...
    """
    _require_part("threshold", threshold)
    _require_part("iou_threshold", iou_threshold)
    if max_detections is not None and max_detections < 1:
        raise SettingsError(f"max_detections is {max_detections}, expected at least 1")
    return predict_with(
        load_runtime(weights, device=device, runtime=runtime),
        source,
        weights=weights,
        threshold=threshold,
        output=output,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        pictures=pictures,
    )


def predict_with(
    runtime: Runtime,
    source: str,
    *,
    weights: Path,
    threshold: float | None = None,
    output: Path | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    pictures: bool = True,
) -> Predicted:
    """`predict` with weights that are open already; `weights` is what the files will say of where they came from."""
    detector = Detector(runtime, score_threshold=threshold, iou_threshold=iou_threshold, max_detections=max_detections)
    sources = find_pictures(source)
    folder = _folder(output)
    if pictures:
        _require_untouched(sources, folder)
    started = time.perf_counter()
    failed: dict[str, str] = {}
    with logging_to():
        done = tuple(_run(detector, sources, folder if pictures else None, failed))
    predicted = Predicted(output=folder, pictures=done, failed=failed, seconds=time.perf_counter() - started)
    _write(predicted, detector, weights)
    _print(predicted, drawn=pictures)
    return predicted


def _run(
    detector: Detector, sources: Sequence[PictureSource], drawings: Path | None, failed: dict[str, str]
) -> Iterator[PredictedPicture]:
    """Each readable picture's detections, drawn into `drawings`; why the others could not be read goes to `failed`."""
    ids = dict(zip((source.name for source in sources), image_ids(sources), strict=False))

    def unreadable(source: PictureSource, error: DataError) -> None:
        get_logger().warning("%s", error)
        failed[source.name] = str(error)

    started = time.perf_counter()
    with progress_bar("predict", len(sources)) as advance:
        for done, one in enumerate(predict_pictures(detector, sources, on_unreadable=unreadable), start=1):
            if drawings is not None:
                _draw(one, detector.record, drawings)
            height, width = one.image.shape[:2]
            yield PredictedPicture(
                name=one.source.name,
                image_id=ids[one.source.name],
                size_wh=(width, height),
                detections=one.detections,
            )
            advance(done + len(failed), f"{done / (time.perf_counter() - started):.1f} pictures/s")


def image_ids(sources: Sequence[PictureSource]) -> list[int]:
    """COCO's `image_id` of each picture: the number its name is (000000000139.jpg), if all are; else 1, 2, 3 ..."""
    stems = [source.place.stem for source in sources]
    if all(stem.isdecimal() and stem.isascii() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(sources) + 1))


def _draw(one: Prediction, record: ModelRecord, folder: Path) -> None:
    drawn = draw(one.image, one.detections, record.class_names)
    path = drawing_path(one.source, folder)
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(drawn, path.suffix))


def drawing_path(source: PictureSource, folder: Path) -> Path:
    """Where the drawing of a picture goes: under the picture's own name."""
    place = source.place
    return folder / (place if place.suffix.lower() in DRAWN_SUFFIXES else place.with_name(f"{place.name}.jpg"))


def encode(image: NDArray[np.uint8], suffix: str) -> bytes:
    """(H, W, 3) uint8 RGB -> the bytes of a picture file of the kind that the suffix names."""
    # Bytes, not cv2.imwrite: that one cannot write to every path that is not ASCII, and does not say why it failed.
    options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return content.tobytes()


def _folder(output: Path | None) -> Path:
    if output is None:
        return make_run_folder(Path("runs"), "predict")
    with explained_write(output):
        output.mkdir(parents=True, exist_ok=True)
    return output


def _require_untouched(sources: Sequence[PictureSource], folder: Path) -> None:
    """No drawing may take the place of a picture it is made from."""
    originals = {source.path.resolve() for source in sources if source.path is not None}
    for source in sources:
        if drawing_path(source, folder).resolve() in originals:
            raise SettingsError(
                f"output {folder}: the drawing of {source.name} would replace the picture itself; name another folder"
            )


def _require_part(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise SettingsError(f"{name} is {value}, expected a number from 0 to 1")


def _write(predicted: Predicted, detector: Detector, weights: Path) -> None:
    record = detector.record
    head = {
        "weights": str(weights),
        "class_names": record.class_names,
        "threshold": detector.score_threshold,
        "iou_threshold": detector.iou_threshold,
        "max_detections": detector.max_detections,
    }
    pictures = [_as_json(picture, record) for picture in predicted.pictures]
    failed = [{"file": name, "error": error} for name, error in predicted.failed.items()]
    write_file(
        predicted.output / "detections.json",
        f'{_dumps(head)[:-1]},\n"pictures": {_one_a_line(pictures)},\n"failed": {_one_a_line(failed)}}}\n',
    )
    rows = [row for picture in predicted.pictures for row in _coco_rows(picture, record)]
    write_file(predicted.output / "results.json", _one_a_line(rows) + "\n")


def _as_json(picture: PredictedPicture, record: ModelRecord) -> dict[str, Any]:
    width, height = picture.size_wh
    found = picture.detections
    return {
        "file": picture.name,
        "image_id": picture.image_id,
        "width": width,
        "height": height,
        "detections": [
            {"class": record.class_names[label], "label": label, "score": score, "box_xyxy": box}
            for label, score, box in zip(
                found.labels.tolist(), found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True
            )
        ],
    }


def _coco_rows(picture: PredictedPicture, record: ModelRecord) -> list[dict[str, Any]]:
    found = picture.detections
    boxes_xywh = xyxy_to_xywh(found.boxes_xyxy.astype(np.float64))
    return [
        {"image_id": picture.image_id, "category_id": record.category_ids[label], "bbox": box, "score": score}
        for label, box, score in zip(found.labels.tolist(), boxes_xywh.tolist(), found.scores.tolist(), strict=True)
    ]


def _one_a_line(rows: Sequence[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(_dumps(row) for row in rows) + "\n]" if rows else "[]"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _print(predicted: Predicted, *, drawn: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    num_detections = sum(len(picture.detections) for picture in predicted.pictures)
    rate = len(predicted.pictures) / predicted.seconds
    console.print(f"{len(predicted.pictures):,} pictures, {num_detections:,} detections, {rate:.1f} pictures/s")
    if predicted.failed:
        console.print(f"could not be read: {len(predicted.failed):,}; see the messages above, and detections.json")
    written = f"{'drawings, ' if drawn else ''}detections.json, results.json"
    console.print(f"written: {predicted.output}: {written}", markup=False)
