"""Files of lookonce that were damaged or edited: each reader gives a result or a LookonceError, in seconds.

The annotation formats have their own in tests/data/test_layouts.py, weights of other programs in
tests/weights/test_fuzz.py, the readers of C++ in cpp/fuzz.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty import become_fifo, nobody_waits
from mutations import mutated
from odd_json import with_odd_value

from lookonce.data.source import open_data
from lookonce.errors import LookonceError
from lookonce.evaluation.results import read_coco_results
from lookonce.reports.content import read_run
from lookonce.training.run_folder import RunFolder
from lookonce.weights.checkpoint import load_checkpoint
from lookonce.workflows.report import report
from lookonce.workflows.train import train

LONGEST_SECONDS = 5.0  # of the processor, for one reading
Read = Callable[[Path, Path], Any]

# File of a run -> what reads it, given the run's folder and the data.
READERS: dict[str, Read] = {
    "checkpoints/best/record.json": lambda run, _: read_run(run),
    "checkpoints/best/manifest.json": lambda run, _: load_checkpoint(run / "checkpoints" / "best"),
    "checkpoints/last/manifest.json": lambda run, data: train(resume=str(run), data=str(data)),
    "checkpoints/best/model.safetensors": lambda run, _: load_checkpoint(run / "checkpoints" / "best"),
    "checkpoints/last/training.json": lambda run, data: train(resume=str(run), data=str(data)),
    "settings.yaml": lambda run, data: train(resume=str(run), data=str(data)),
    "images.json": lambda run, data: train(resume=str(run), data=str(data)),
    "metrics.jsonl": lambda run, _: RunFolder(run).metrics(),
    "evaluation/results.json": lambda run, data: read_coco_results(
        run / "evaluation" / "results.json", open_data(data).split("val")
    ),
    "evaluation/metrics.json": lambda run, _: report(run, evaluation=run / "evaluation", num_images=0),
    "evaluation/analysis.json": lambda run, _: report(run, evaluation=run / "evaluation", num_images=0),
}


def damaged(path: Path, generator: np.random.Generator) -> Iterator[bytes]:
    """Without end: the file with bytes changed; a JSON file, every other time, with a value changed."""
    content = path.read_bytes()
    while True:
        yield mutated(content, generator)
        if path.suffix == ".json":
            yield json.dumps(with_odd_value(json.loads(content), generator)).encode()


@pytest.mark.parametrize("count", [3, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name: str, count: int, run: Path, data: Path) -> None:
    generator = np.random.default_rng(0)
    for number, content in zip(range(count), damaged(run / name, generator), strict=False):
        (run / name).write_bytes(content)
        started = time.process_time()
        with suppress(LookonceError):
            READERS[name](run, data)
        assert time.process_time() - started < LONGEST_SECONDS, number


@pytest.mark.parametrize("name", READERS)
def test_a_fifo_in_place_of_a_file_is_refused(name: str, run: Path, data: Path) -> None:
    become_fifo(run / name)
    with nobody_waits(), suppress(LookonceError):
        READERS[name](run, data)
