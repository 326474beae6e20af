"""`lookonce predict MANIFEST --engine ray`: parts of a manifest on a Ray cluster.

Ray Data places the parts, repeats those whose worker or node has died, and scales the workers. That the result is the
one of a single process is the work of `predict_parts`: each part is idempotent.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookonce.errors import SettingsError, needing_extra
from lookonce.log import is_terminal
from lookonce.parsed import parse_json
from lookonce.prediction.manifest import open_manifest
from lookonce.prediction.parts import Part
from lookonce.remote.folder import open_folder
from lookonce.shown import to_json
from lookonce.workflows.predict_parts import PartsOf, PredictedParts, require_divisible
from lookonce.workflows.predict_request import PredictRequest

ROWS_PER_PART = 10_000
GPUS = ("cuda", "tensorrt")


class Worker:
    """An actor of Ray: it loads the weights once, and works through part after part."""

    def __init__(self, request: PredictRequest, folder: Path) -> None:
        if folder.is_dir():  # paths of the request are relative to it, and are written into the results as they are
            os.chdir(folder)
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
    with needing_extra("engine: ray", "ray"):
        import ray
    num_rows = open_manifest(request.source).num_rows
    parts = Part.parse(request.part or f"all/{-(-min(num_rows, request.limit or num_rows) // ROWS_PER_PART)}")
    _require_free(request, parts)
    started = time.perf_counter()
    ray.init(address=request.address, log_to_driver=False, logging_level=logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = is_terminal()
    context.execution_no_progress_timeout_s = -1  # a part may take hours
    try:
        rows = ray.data.from_items([{"part": str(part)} for part in parts], override_num_blocks=len(parts))
        done = rows.map(
            Worker,
            fn_constructor_args=(replace(request, resume=True), Path.cwd()),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=len(parts)),
            num_cpus=1,
            num_gpus=1 if request.device.startswith(GPUS) else 0,
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
        problem = f"has results of {min(taken)}; add --resume, or name another output"
        raise SettingsError.of("output", request.output, problem)
