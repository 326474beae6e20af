"""`lookonce bench`: latency and throughput of weights on this machine, by stage."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lookonce import __version__
from lookonce.cores import usable_threads
from lookonce.errors import LookonceError, SettingsError
from lookonce.layout import PLAIN, Layout, Printed
from lookonce.log import get_logger, progress_bar
from lookonce.request import Listed, old_names
from lookonce.runtimes.processor import int8_path, processor_name
from lookonce.runtimes.registry import names_for, runtimes_for
from lookonce.settings.image_size import size_hw, size_in_words
from lookonce.settings.names import counted, split_list
from lookonce.shown import percent, to_json
from lookonce.storage import output_folder, write_file
from lookonce.workflows.bench_process import THREADS_VARIABLE, Case

# Each numeric library reads one of these when it starts.
THREAD_VARIABLES = (THREADS_VARIABLE, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
IMAGES_A_THREAD = 4  # images per thread of the larger of the two default batches
TABLE_WIDTH = 118
QUIET = 0.8  # least share of its threads' time that a case with a large batch gets on an idle machine


@dataclass(frozen=True, kw_only=True)
class Bench(Printed):
    """rows: one per case, as in bench.json; pipelines: one per file. A row with `error` could not be measured."""

    output: Path
    machine: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    pipelines: tuple[dict[str, Any], ...]

    @property
    def exit_code(self) -> int:
        return int(any("error" in row for row in (*self.rows, *self.pipelines)))


@old_names(pictures="images")
def bench(
    files: list[Path],
    *,
    names: Path | None = None,
    threads: Listed | None = None,
    batch: Listed | None = None,
    image_size: Listed | None = None,
    images: str | None = None,
    seconds: float = 5.0,
    pipeline: bool = True,
    runtime: Listed = "auto",
    device: str = "auto",
    output: Path | None = None,
) -> Bench:
    """Measure latency, throughput, share of the processor's peak, memory use and the whole pipeline on this machine.

    Each case runs in a process of its own, one after another. Close other programs first.

    Parameters
    ----------
    files
        Exported files, checkpoint folders, run folders, or MindSpore's .ckpt or Darknet's .weights.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    threads
        Numbers of threads to try, separated by commas: 1,2. Default: one per core.
    batch
        Batch sizes, separated by commas: 1,8. Default: 1, and four per thread.
    image_size
        Sizes of the network's input in pixels, separated by commas: 320,416x224 (height x width). Default: that of the
        weights.
    images
        Images to measure with (file, folder, pattern, list). Default: synthetic images of about 640x480.
    seconds
        Approximate time per case, in seconds, above 0.
    pipeline
        Measure reading, detection and drawing too; --no-pipeline measures the network alone.
    runtime
        Runtime: auto for the file's own, all for each that reads it, or names, separated by commas.
    device
        Device, as for predict: auto, cpu, cuda, cuda:1, npu, xpu, mps, or one that the file's runtime has.
    output
        Folder for bench.json. Default: a new runs/bench-N.
    """
    if seconds <= 0:
        raise SettingsError.of("seconds", seconds, "expected more than 0")
    thread_counts = _numbers("threads", threads) or [usable_threads()]
    sizes = [None] if image_size is None else [size_hw(word) for word in image_size.split(",")]
    named = {file: str(path) if path else None for file, path in names_for(files, names).items()}
    common = Case(weights="", images=images, seconds=seconds, device=device)
    cases = []
    for file, count in product(files, thread_counts):
        for name in runtimes_for(file) if runtime == "all" else split_list(runtime):
            one = replace(common, weights=str(file), names=named[file], runtime=name)
            for size, number in product(sizes, _numbers("batch", batch) or [1, IMAGES_A_THREAD * count]):
                cases.append((replace(one, image_size=size, batch=number), count))
            if pipeline and count == max(thread_counts):
                cases.append((replace(one, image_size=sizes[0], pipeline=True), count))
    folder = output_folder(output, "bench")
    get_logger().info(f"measuring {counted(len(cases), 'case')}, each for about {seconds:g} s in a process of its own")
    try:
        measured = list(_measure_all(cases))
    except BaseException:  # Ctrl-C too
        with suppress(OSError):  # is not empty
            folder.rmdir()
        raise
    pairs = [(case.pipeline, row) for (case, _), row in zip(cases, measured, strict=True)]
    rows, pipelines = (tuple(row for is_whole, row in pairs if is_whole == wanted) for wanted in (False, True))
    done = Bench(output=folder, machine=machine(), rows=rows, pipelines=pipelines)
    content = {"machine": done.machine, "cases": done.rows, "pipelines": done.pipelines}
    write_file(folder / "bench.json", to_json(content, indent=1) + "\n")
    return done


def _numbers(name: str, text: str | None) -> list[int]:
    """`1,2` -> [1, 2]; None -> []."""
    if text is None:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise SettingsError.of(name, text, "expected numbers from 1, separated by commas, for example 1,2")
    return [int(word) for word in words]


def _measure_all(cases: Sequence[tuple[Case, int]]) -> Iterator[dict[str, Any]]:
    """Runs each case, with so many threads, in a process of its own."""
    command = [sys.executable, "-m", "lookonce.workflows.bench_process"]
    with progress_bar("bench", len(cases)) as advance:
        for number, (case, threads) in enumerate(cases):
            advance(number, f"{Path(case.weights).name}, {counted(threads, 'thread')}")
            environment, given = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)), json.dumps(asdict(case))
            done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise LookonceError.at(case.weights, f"the measurement exited with status {done.returncode}: {last}")
            yield {"file": case.weights, "threads": threads, **json.loads(done.stdout.splitlines()[-1])}


def machine() -> dict[str, Any]:
    """The machine of the measurement; load: average number of runnable processes at its end, including this one."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "int8": int8_path(),
        "cores": usable_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "lookonce": __version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def as_text(done: Bench, layout: Layout = PLAIN) -> Iterator[str]:
    yield f"{done.machine['processor']}, load {done.machine['load'] or 0:.1f}"
    yield f"int8: {done.machine['int8']}"
    yield from layout.lines(_table([row for row in done.rows if "error" not in row]), least_width=TABLE_WIDTH)
    for row in (row for row in done.pipelines if "error" not in row):
        parts = ", ".join(f"{part} {value:.1f}" for part, value in row["processor_ms"].items())
        rates = f"{row['pipeline_per_second']:.1f} images/s, {row['ratio']:.2f} of the network alone"
        name = f"{Path(row['file']).name}, {row['runtime']}"
        yield f"{name}: reading and detecting {rates}; processor ms per image: {parts}"
    if least_share(done.rows) < QUIET:
        share = f"a case got {percent(least_share(done.rows))} of its threads' time"
        yield f"other programs were running: {share}; on an idle machine the times are shorter"
    for problem in dict.fromkeys(row["error"] for row in (*done.rows, *done.pipelines) if "error" in row):
        yield from layout.lines(Text(problem, "red", no_wrap=True, overflow="ignore"), least_width=len(problem))
    yield f"written: {done.output / 'bench.json'}"


def least_share(rows: Sequence[dict[str, Any]]) -> float:
    """Least share of their threads' time that cases with work for all threads got; 1 without such cases."""
    full = [row for row in rows if "error" not in row and row["batch"] >= row["threads"]]
    return min([1.0, *(float(row["busy_cores"] / row["threads"]) for row in full)])


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("file", "runtime", box=None, pad_edge=False)
    for heading in ("size", "threads", "batch", "median ms", "p95 ms", "images/s", "GFLOP/s", "of peak", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(Path(row["file"]).name),
            row["runtime"],
            size_in_words(row["image_size"]),
            str(row["threads"]),
            str(row["batch"]),
            f"{row['median_ms']:.1f}",
            f"{row['p95_ms']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['gflops']:.0f}",
            percent(row["share_of_peak"]),
            "" if row["memory_mb"] is None else f"{row['memory_mb']:.0f}",
        )
    return table
