"""Where the time of a training step goes: a table to read, and a trace to look into."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, record_function

from lookonce.data.loader import Batch
from lookonce.distributed import synchronize
from lookonce.storage import os_errors_explained, write_file
from lookonce.training.engine import STEP_PARTS, Learner, StepResult, train_one_epoch
from lookonce.training.trainer import Batches

# The first steps fill caches and pools and choose algorithms; they are no measure.
SKIPPED_STEPS = 3
PROFILED_STEPS = 10
NUM_OPERATIONS = 20
WAITING = "waiting for pictures"


def profile_training(learner: Learner, batches: Batches, folder: Path) -> list[str]:
    """The lines of a table of where a few steps spend their time; writes profile.txt and profile.json.

    profile.json opens in https://ui.perfetto.dev or chrome://tracing. The steps change the learner's weights.
    """
    steps = _steps_without_end(learner, batches)
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


def _steps_without_end(learner: Learner, batches: Batches) -> Generator[StepResult]:
    """Epoch after epoch: a small data set has fewer batches than are profiled."""
    for epoch in count():
        with closing(batches.epoch(epoch)) as source:
            yield from train_one_epoch(learner, _watched(source), epoch=epoch)


def _watched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, with the wait for each on record."""
    while True:
        with record_function(WAITING):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _table(profiler: profile, seconds: float, num_images: int, *, by_device: bool) -> list[str]:
    """Parts of a step, then the operations that take most."""
    averages = {entry.key: entry for entry in profiler.key_averages()}
    a_step = 1000 * seconds / PROFILED_STEPS
    names = [name for name in (WAITING, *STEP_PARTS) if name in averages]
    parts = {name: averages[name].cpu_time_total / 1000 / PROFILED_STEPS for name in names}
    parts["between them"] = a_step - sum(parts.values())
    lines = [
        f"{PROFILED_STEPS} steps of {a_step:.1f} ms: {num_images / seconds:.1f} pictures a second, a few more without",
        "the profiler. Times are those of the processor; with an accelerator it may only have waited.",
        "",
        *(f"{name:22s} {milliseconds:9.2f} ms  {milliseconds / a_step:6.1%}" for name, milliseconds in parts.items()),
        "",
    ]
    order = "self_device_time_total" if by_device else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=NUM_OPERATIONS, max_name_column_width=48)
    return lines + str(table).splitlines()
