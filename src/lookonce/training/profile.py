"""Where the time of a training step goes: a table to read, and a trace to look into."""

import time
from collections.abc import Generator, Iterator
from itertools import chain, count
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from lookonce.data.loader import Batch
from lookonce.distributed import synchronize
from lookonce.storage import explained_write, write_file
from lookonce.training.engine import STEP_PARTS, Learner, train_one_epoch
from lookonce.training.trainer import Batches

# The first steps fill caches and pools and choose algorithms; they are no measure.
SKIPPED_STEPS = 3
PROFILED_STEPS = 10
NUM_OPERATIONS = 20


def profile_training(learner: Learner, batches: Batches, folder: Path) -> list[str]:
    """Train a few steps under PyTorch's profiler; writes profile.txt and profile.json, returns the table's lines.

    profile.json opens in https://ui.perfetto.dev or chrome://tracing. The steps change the learner's weights.
    """
    source = _without_end(batches)
    steps = train_one_epoch(learner, source, epoch=0)
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
    source.close()
    lines = _table(profiler, seconds, num_images, by_device=device.type == "cuda")
    write_file(folder / "profile.txt", "\n".join(lines) + "\n")
    with explained_write(folder / "profile.json"):
        profiler.export_chrome_trace(str(folder / "profile.json"))
    return lines


def _without_end(batches: Batches) -> Generator[Batch]:
    """Epoch after epoch: a small data set has fewer batches than are profiled."""
    epochs: Iterator[Generator[Batch]] = (batches.epoch(number) for number in count())
    yield from chain.from_iterable(epochs)


def _table(profiler: profile, seconds: float, num_images: int, *, by_device: bool) -> list[str]:
    """Parts of a step, then the operations that take most."""
    averages = {entry.key: entry for entry in profiler.key_averages()}
    a_step = 1000 * seconds / PROFILED_STEPS
    parts = {name: averages[name].cpu_time_total / 1000 / PROFILED_STEPS for name in STEP_PARTS if name in averages}
    parts["waiting for pictures, and the rest"] = a_step - sum(parts.values())
    lines = [
        f"{PROFILED_STEPS} steps of {a_step:.1f} ms, {num_images / seconds:.1f} images a second, seen from the processor;",
        "the profiler itself makes them a little slower",
        "",
        *(f"{name:36s} {milliseconds:9.2f} ms  {milliseconds / a_step:6.1%}" for name, milliseconds in parts.items()),
        "",
    ]
    order = "self_device_time_total" if by_device else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=NUM_OPERATIONS, max_name_column_width=48)
    return lines + str(table).splitlines()
