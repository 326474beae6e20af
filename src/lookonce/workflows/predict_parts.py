"""`lookonce predict MANIFEST --part K/N`: parts of a manifest, on as many machines as wanted; results are the same."""

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import lookonce
from lookonce.cores import NUM_FETCHERS
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, pace, progress_bar
from lookonce.prediction.manifest import open_manifest
from lookonce.prediction.media import ImageSource
from lookonce.prediction.parts import CHUNK_ROWS, Part, PartResult
from lookonce.prediction.predictor import Detects
from lookonce.prediction.predictor import predict as predict_images
from lookonce.prediction.result import without_image
from lookonce.prediction.sources import images_of
from lookonce.remote.folder import open_folder
from lookonce.remote.local_copy import local_file
from lookonce.remote.objects import Location, is_remote
from lookonce.remote.stage_out import version_of
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.names import counted
from lookonce.shown import to_json, without_secrets
from lookonce.storage import make_run_folder, sha256_file
from lookonce.weights.pull import find_checkpoint, find_weights
from lookonce.workflows.predict_request import PredictRequest, detects_as

MOST_SHOWN = 20  # parts that have a line of their own
# Options on which the lines of a result depend, besides the weights and the manifest.
OPTIONS = (
    *("threshold", "iou_threshold", "max_detections", "multi_label", "agnostic", "classes", "tile", "tile_overlap"),
    *("limit", "runtime", "image_size"),
)
# Options that need all images in one process, or write other files than the result.
NOT_IN_PARTS = ("save", "as_labels", "track", "show", "devices", "nnodes", "reconnect")


@dataclass(frozen=True, kw_only=True)
class PredictedParts:
    """The records of the parts: see `prediction/parts.py`. seconds: of this run, which detected in num_new images."""

    output: str
    parts: Sequence[Mapping[str, Any]]
    num_new: int
    seconds: float

    def totals(self) -> dict[str, Any]:
        """num_images and num_detections of all these parts, and the seconds of this run."""
        images, detections = (sum(record[name] for record in self.parts) for name in ("images", "detections"))
        return {"num_images": images, "num_detections": detections, "seconds": self.seconds}

    def lines(self) -> Iterator[str]:
        """A line for each part, the throughput of this run, and the place of the results."""
        for record in self.parts[:MOST_SHOWN]:
            numbers = f"{counted(record['images'], 'image')}, {counted(record['detections'], 'detection')}"
            failed = f", {record['failed']:,} could not be read" if record["failed"] else ""
            yield f"part {record['part']}: {numbers}{failed}; SHA-256 {record['sha256']}"
        if len(self.parts) > MOST_SHOWN:
            failed = sum(record["failed"] for record in self.parts)
            yield f"{len(self.parts) - MOST_SHOWN:,} more parts; in all {failed:,} images could not be read"
        rate = self.num_new / max(self.seconds, 1e-9)
        done = f", {rate:.1f} images/s in {self.seconds:.1f} s" if self.num_new else ""
        yield f"{counted(self.num_new, 'image')} in this run{done}"
        yield f"written: {self.output}: {counted(len(self.parts), 'part')}"


def predict_parts(request: PredictRequest) -> PredictedParts:
    """Work through the part, or all parts, that the request names; unreadable images have a line with their error."""
    parts = Part.parse(request.part or "1/1")
    require_divisible(request)
    work = PartsOf(request)
    started = time.perf_counter()
    records = [work.done(part) for part in parts]
    seconds = time.perf_counter() - started
    return PredictedParts(output=work.output, parts=records, num_new=work.num_images, seconds=seconds)


def require_divisible(request: PredictRequest) -> None:
    """SettingsError for options that cannot be used with parts."""
    defaults = {field.name: field.default for field in fields(request)}
    for name in NOT_IN_PARTS:
        value = getattr(request, name)
        if value != defaults[name] and not (name == "save" and request.saves == ["jsonl"]):
            problem = f"not with --part, which writes one .jsonl file per part; leave {name} out"
            raise SettingsError.of(name, value, problem)


class PartsOf:
    """The parts of one manifest. Weights are loaded for the first part that is not complete, and then kept."""

    def __init__(self, request: PredictRequest) -> None:
        self._request = request
        self._weights = find_weights(request.chosen_weights)
        self._manifest = open_manifest(request.source)
        output = str(request.output or make_run_folder(Path("runs"), "predict"))
        self.output = str(Location.parse(output)) if is_remote(output) else output  # a Path has one slash
        self._folder = open_folder(self.output)
        self._loaded: tuple[Runtime, Detects] | None = None
        self.num_rows = min(self._manifest.num_rows, request.limit or self._manifest.num_rows)
        self._made_with = {
            "lookonce": lookonce.__version__,
            "rows": self.num_rows,
            "manifest": sha256_file(self._manifest.path),
            "weights": _digest(self._weights),
            "names": None if request.names is None else sha256_file(local_file(request.names)),
            **{name: getattr(request, name) for name in OPTIONS},
        }
        self.num_images = 0

    def done(self, part: Part) -> Mapping[str, Any]:
        """The record of a part, which is made unless it is complete."""
        result = PartResult(self._folder, part, self._made_with)
        record = result.record()
        if record is not None:
            if not self._request.resume:
                raise result.is_there()
            get_logger().info(f"part {part}: complete already")
            result.clean()
            return record
        rows = part.rows(self.num_rows)
        num_chunks = -(-len(rows) // CHUNK_ROWS)
        missing = sorted(set(range(num_chunks)) - result.begin(resume=self._request.resume))
        if len(missing) < num_chunks:
            get_logger().info(f"part {part}: {num_chunks - len(missing):,} of {num_chunks:,} chunks are there")
        if missing:
            self._make(part, result, rows, missing)
        return result.finish(rows, num_chunks)

    def _make(self, part: Part, result: PartResult, rows: range, chunks: Sequence[int]) -> None:
        """Write these chunks of the part, each when it is known; an inventory may have no image for one."""
        rows_of = {chunk: rows[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS] for chunk in chunks}
        started, total = time.perf_counter(), sum(map(len, rows_of.values()))
        done = 0
        with progress_bar(f"part {part}", total) as advance, closing(self._lines(rows_of.values())) as lines:
            for chunk, group in groupby(lines, key=lambda line: (line[0] - 1 - rows.start) // CHUNK_ROWS):
                result.write(chunk, "".join(text for _, text in group))
                done += len(rows_of.pop(chunk))
                advance(done, pace(done, total, time.perf_counter() - started))
        for chunk in rows_of:
            result.write(chunk, "")

    def _lines(self, ranges: Iterable[range]) -> Generator[tuple[int, str]]:
        """(row number, line) of each image of these rows, in order."""
        if self._loaded is None:
            request = self._request
            runtime = load_runtime(self._weights, **request.opening)
            self._loaded = runtime, detects_as(runtime, request)
        runtime, detects = self._loaded
        unreadable: deque[tuple[int, str]] = deque()

        def failed(source: ImageSource, error: DataError) -> None:
            row = {"file": source.name, "image_id": source.image_id, "error": without_secrets(str(error))}
            unreadable.append((source.image_id, to_json(row) + "\n"))

        images = (image for rows in _joined(ranges) for image in images_of(self._manifest, rows))
        # Padded, because where batches end depends on where a part begins and where it was interrupted.
        for one in predict_images(detects, images, num_readers=NUM_FETCHERS, pad=True, on_unreadable=failed):
            while unreadable and unreadable[0][0] < one.source.image_id:
                yield unreadable.popleft()
            self.num_images += 1
            row = without_image(one, runtime.record.class_names).to_dict()
            yield one.source.image_id, to_json(row) + "\n"
        yield from unreadable


def _joined(ranges: Iterable[range]) -> list[range]:
    """Ranges that follow one another as one: a manifest is read from its start for each."""
    joined: list[range] = []
    for rows in ranges:
        if joined and joined[-1].stop == rows.start:
            rows = range(joined.pop().start, rows.stop)
        joined.append(rows)
    return joined


def _digest(weights: Path) -> str:
    if weights.is_file():
        return sha256_file(weights)
    return version_of(find_checkpoint(weights))
