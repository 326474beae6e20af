"""Profile of training steps: a table of where the time goes, and a trace for a viewer."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, record_function

from lookonce.data.loader import Batch
from lookonce.devices import synchronize
from lookonce.shown import percent
from lookonce.storage import os_errors_explained, write_file
from lookonce.training.engine import STEP_PARTS, Learner, StepResult, train_one_epoch
from lookonce.training.trainer import Batches

# Not profiled: the first steps fill caches and memory pools and choose algorithms.
SKIPPED_STEPS = 3
PROFILED_STEPS = 10
NUM_OPERATIONS = 20
WAITING = "waiting for images"


def profile_training(learner: Learner, batches: Batches, folder: Path) -> list[str]:
    """Profile PROFILED_STEPS training steps; write profile.txt and profile.json to `folder`; return the text's lines.

    profile.json opens in https://ui.perfetto.dev or chrome://tracing. The steps change the learner's weights.
    """
    steps = _endless_steps(learner, batches)
    for _ in range(SKIPPED_STEPS):
        next(steps)
    device = learner.options.device
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    synchronize(device)
    started, num_images = time.perf_counter(), 0
    with profile(activities=activities) as profiler:
        for _ in range(PROFILED_STEPS):
            num_images += next(steps).num_images
        synchronize(device)
    seconds = time.perf_counter() - started
    steps.close()
    lines = _table(profiler, seconds, num_images, by_device=device.type == "cuda")
    write_file(folder / "profile.txt", "\n".join(lines) + "\n")
    with os_errors_explained(folder / "profile.json"):
        profiler.export_chrome_trace(str(folder / "profile.json"))
    return lines


def _endless_steps(learner: Learner, batches: Batches) -> Generator[StepResult]:
    """Steps over repeated epochs: a small data set has fewer batches than are profiled."""
    for epoch in count():
        with closing(batches.epoch(epoch)) as source:
            yield from train_one_epoch(learner, _recorded(source), epoch=epoch)


def _recorded(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; the profiler records the wait for each as WAITING."""
    while True:
        with record_function(WAITING):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _table(profiler: profile, seconds: float, num_images: int, *, by_device: bool) -> list[str]:
    """The parts of a step, then the NUM_OPERATIONS operations that take the most time."""
    operations = profiler.key_averages()
    averages = {entry.key: entry for entry in operations}
    a_step = 1000 * seconds / PROFILED_STEPS
    names = [name for name in (WAITING, *STEP_PARTS) if name in averages]
    parts = {name: averages[name].cpu_time_total / 1000 / PROFILED_STEPS for name in names}
    parts["between them"] = a_step - sum(parts.values())
    shares = {name: percent(milliseconds / a_step) for name, milliseconds in parts.items()}
    lines = [
        f"{PROFILED_STEPS} steps of {a_step:.1f} ms: {num_images / seconds:.1f} images/s, slightly more without the",
        "profiler. Times are CPU times; with an accelerator they include the CPU's waits for it.",
        "",
        *(f"{name:22s} {milliseconds:9.2f} ms  {shares[name]:>7}" for name, milliseconds in parts.items()),
        "",
    ]
    order = "self_device_time_total" if by_device else "self_cpu_time_total"
    table = operations.table(sort_by=order, row_limit=NUM_OPERATIONS, max_name_column_width=48)
    return lines + str(table).splitlines()
