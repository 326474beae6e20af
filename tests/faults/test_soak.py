"""Train, evaluate and predict again and again in one process: memory and descriptors stay as they are."""

import gc
import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.predict import predict

ROUNDS_UNTIL_STEADY = 3  # caches and memory pools fill
MOST_GROWTH = 40 << 20  # bytes, of 300 MB and more; a single image kept per round would be seen in the long test
MOST_SECONDS = 300.0


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("rounds", [12, 10_000])
def test_memory_and_descriptors_stay(rounds: int, quick: Any, data: Path, tmp_path: Path) -> None:
    begun, before, opened = time.monotonic(), 0, 0
    for number in range(rounds):
        run = quick(tmp_path / "runs", epochs=1).run.path
        evaluate(weights=run, data=data, output=tmp_path / "evaluation", resamples=50)
        predict(str(data / "val2017"), weights=run, output=tmp_path / "predicted")
        for folder in ("runs", "evaluation", "predicted"):
            shutil.rmtree(tmp_path / folder)
        gc.collect()
        if number == ROUNDS_UNTIL_STEADY:
            before, opened = resident(), descriptors()
        if time.monotonic() - begun > MOST_SECONDS:
            break
    grown = resident() - before
    print(f"{number + 1} rounds in {time.monotonic() - begun:.0f} s: {before >> 20} MiB, then {grown >> 10} KiB more")
    assert descriptors() == opened
    assert grown < MOST_GROWTH
