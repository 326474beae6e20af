"""`lookonce predict MANIFEST --engine ray`: parts of a manifest on a Ray cluster.

Ray Data places the parts, repeats those whose worker or node has died, and scales the workers. That the result is the
one of a single process is the work of `predict_parts`: each part is idempotent.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookonce.errors import MissingExtra, SettingsError
from lookonce.parsed import parse_json
from lookonce.prediction.manifest import open_manifest
from lookonce.prediction.parts import Part
from lookonce.remote.folder import open_folder
from lookonce.remote.objects import is_remote
from lookonce.shown import to_json
from lookonce.weights.published import PUBLISHED
from lookonce.workflows.predict_parts import PartsOf, PredictedParts, require_divisible
from lookonce.workflows.predict_request import PredictRequest

ROWS_PER_PART = 10_000
GPUS = ("cuda", "tensorrt")


class Worker:
    """An actor of Ray: it loads the weights once, and works through part after part."""

    def __init__(self, request: PredictRequest) -> None:
        self._parts = PartsOf(request)

    def __call__(self, row: Mapping[str, str]) -> dict[str, Any]:
        (part,) = Part.parse(row["part"])
        before = self._parts.num_images
        record = self._parts.done(part)
        return {"record": to_json(record), "new": self._parts.num_images - before}


def predict_on_ray(request: PredictRequest) -> PredictedParts:
    """All parts of the request on the cluster at its address; without one, on that of RAY_ADDRESS, or one made here."""
    require_divisible(request)
    if request.output is None:
        raise SettingsError("output: not given; expected a folder that all nodes share, or s3://...", setting="output")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its usage unless it is told not to
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("engine: ray", "ray") from error
    num_rows = open_manifest(request.source).num_rows
    parts = Part.parse(request.part or f"all/{-(-min(num_rows, request.limit or num_rows) // ROWS_PER_PART)}")
    _require_free(request, parts)
    started = time.perf_counter()
    ray.init(address=request.address, log_to_driver=False)
    try:
        rows = ray.data.from_items([{"part": str(part)} for part in parts], override_num_blocks=len(parts))
        done = rows.map(
            Worker,
            fn_constructor_args=(_for_workers(request),),
            concurrency=(1, len(parts)),
            num_cpus=1,
            num_gpus=1 if request.device.startswith(GPUS) else 0,
            max_restarts=-1,
            max_task_retries=-1,
        ).take_all()
    finally:
        ray.shutdown()
    records = sorted((parse_json(row["record"]) for row in done), key=lambda record: record["rows"])
    seconds = time.perf_counter() - started
    return PredictedParts(
        output=str(request.output), parts=records, num_new=sum(row["new"] for row in done), seconds=seconds
    )


def _require_free(request: PredictRequest, parts: Sequence[Part]) -> None:
    """SettingsError if results are there and --resume is not given. A repeated task of Ray always resumes."""
    names = open_folder(str(request.output)).names("")
    taken = {part.name for part in parts} & {name.partition(".")[0] for name in names}
    if taken and not request.resume:
        raise SettingsError(
            f"output: {request.output} has results of {min(taken)}; add --resume, or name another output",
            setting="output",
            value=request.output,
        )


def _for_workers(request: PredictRequest) -> PredictRequest:
    """The request as a worker needs it, whose working folder is another."""

    def absolute(place: str | Path) -> str:
        return str(place) if is_remote(place) or str(place) in PUBLISHED else os.path.abspath(place)  # noqa: PTH100

    return replace(
        request,
        source=absolute(request.source),
        weights=Path(absolute(request.chosen_weights)),
        output=Path(absolute(str(request.output))),
        names=None if request.names is None else Path(absolute(request.names)),
        resume=True,
    )
