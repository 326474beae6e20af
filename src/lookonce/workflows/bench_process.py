"""One measurement of `lookonce bench` in its own process: JSON on standard input, JSON on standard output.

A separate process, because thread pools fix their size at start, and because peak memory is measured per process.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.data.synthetic import SceneOptions, make_scene
from lookonce.errors import LookonceError
from lookonce.letterbox import fit
from lookonce.model.layers import steps_of_record
from lookonce.prediction.draw import draw
from lookonce.prediction.media import ImageSource
from lookonce.prediction.predictor import predict
from lookonce.prediction.renderer import encode
from lookonce.prediction.sources import find_images
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.image_size import size_in_words
from lookonce.settings.names import counted

NUM_MADE_IMAGES = 32
MADE_SIDES = (480, 640)  # pixels: smallest and largest side
NUM_WARM_UP = 2
FEWEST_CALLS = 5
PEAK_SIDE = 2048  # rows of the square matrices whose product measures peak throughput
PEAK_SECONDS = 1.0
THREADS_VARIABLE = "OMP_NUM_THREADS"  # `lookonce bench` sets it for each case


@dataclass(frozen=True, kw_only=True)
class Case:
    """What to measure.

    image_size: height and width of the network's input, None for that of the weights; images: a SOURCE, None for
    synthetic images; seconds: approximate duration; pipeline: measure reading and drawing too, not the network alone.
    """

    weights: str
    names: str | None = None
    batch: int = 1
    image_size: tuple[int, int] | None = None
    images: str | None = None
    seconds: float = 5.0
    pipeline: bool = False
    runtime: str = "auto"
    device: str = "auto"


def measure(case: Case) -> dict[str, Any]:
    """The measurements of one case, as `network_of` and `pipeline_of` describe them."""
    started, names = time.perf_counter(), Path(case.names) if case.names else None
    size_hw = None if case.image_size is None else (case.image_size[0], case.image_size[1])  # JSON has lists
    runtime = load_runtime(case.weights, names=names, device=case.device, runtime=case.runtime, image_size=size_hw)
    loaded = time.perf_counter() - started
    if case.images is not None:
        sources = find_images(case.images)
    else:
        scenes = (make_scene(0, "val", number, SceneOptions(sides=MADE_SIDES)) for number in range(NUM_MADE_IMAGES))
        sources = [
            ImageSource(name=f"synthetic {number}", place=Path(f"{number}.jpg"), content=encode(scene.image, ".jpg"))
            for number, scene in enumerate(scenes)
        ]
    measured = pipeline_of(runtime, sources, case) if case.pipeline else network_of(runtime, sources, case)
    return {
        "runtime": runtime.name,
        "image_size": list(runtime.record.image_size),
        "load_seconds": loaded,
        **measured,
        "memory_mb": peak_memory_mb(),
    }


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process in MB; None on Windows."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6  # bytes on macOS, KiB elsewhere


def network_of(runtime: Runtime, sources: list[ImageSource], case: Case) -> dict[str, Any]:
    """Latency (ms per call), throughput (images/s) and fraction of the peak of the processor.

    A call runs the network, decoding and NMS on `batch` network inputs that are ready in memory."""
    record = runtime.record
    canvases = np.stack(
        [fit(one.read(), record.image_size, record.preprocessing)[0] for one in islice(sources, case.batch)]
    )
    canvases = np.resize(canvases, (case.batch, *canvases.shape[1:]))
    gflop = 2 * sum(step.macs for step in steps_of_record(record)) / 1e9
    processor, started = time.process_time(), time.perf_counter()
    milliseconds = _timed(lambda: _detect(runtime, canvases), case.seconds)
    busy = (time.process_time() - processor) / (time.perf_counter() - started)
    peak = peak_gflops()
    rate = 1000 * case.batch / float(np.median(milliseconds))
    return {
        "batch": case.batch,
        "calls": len(milliseconds),
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
        "images_per_second": rate,
        "busy_cores": busy,
        "gflop_per_image": gflop,
        "gflops": gflop * rate,
        "peak_gflops": peak,
        "share_of_peak": gflop * rate / peak,
    }


def _detect(runtime: Runtime, canvases: NDArray[np.uint8]) -> None:
    known = runtime.record.thresholds
    runtime.detect(canvases, score_threshold=known.score, iou_threshold=known.iou, max_detections=known.max_detections)


def _timed(call: Callable[[], None], seconds: float) -> list[float]:
    """Milliseconds of each call, for about `seconds`, after NUM_WARM_UP calls that are not timed."""
    for _ in range(NUM_WARM_UP):
        call()
    milliseconds: list[float] = []
    end = time.perf_counter() + seconds
    while len(milliseconds) < FEWEST_CALLS or time.perf_counter() < end:
        milliseconds.append(1000 * _seconds(call))
    return milliseconds


def peak_gflops(seconds: float = PEAK_SECONDS) -> float:
    """Peak throughput in GFLOP/s: the best product of square float32 matrices, by numpy's BLAS with all threads.

    It is measured in processor time, so that other programs do not lower it. Networks cannot reach it.
    """
    left = np.random.default_rng(0).random((PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    right, product = left.T.copy(), np.empty_like(left)
    threads, best = int(os.environ.get(THREADS_VARIABLE, "1")), 0.0
    end = time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        started, processor = time.perf_counter(), time.process_time()
        np.matmul(left, right, out=product)
        spent = max((time.process_time() - processor) / threads, 1e-9)
        best = max(best, 2 * PEAK_SIDE**3 / min(spent, time.perf_counter() - started) / 1e9)
    return best


def pipeline_of(runtime: Runtime, sources: list[ImageSource], case: Case) -> dict[str, Any]:
    """Throughput (images/s) of the pipeline (reading, letterbox and detection in parallel) and of the network alone,
    measured in turns; and the processor time per image of each stage, including drawing."""
    detector = Detector(runtime)
    record = runtime.record
    canvases = np.stack([fit(one.read(), record.image_size, record.preprocessing)[0] for one in sources])
    _detect(runtime, canvases)
    whole: list[float] = []
    alone: list[float] = []
    end = time.perf_counter() + case.seconds
    while not whole or time.perf_counter() < end:
        whole.append(_seconds(lambda: deque(predict(detector, sources), maxlen=0)))
        alone.append(_seconds(lambda: _detect(runtime, canvases)))
    return {
        "images": len(sources),
        "rounds": len(whole),
        "pipeline_per_second": len(sources) / float(np.median(whole)),
        "network_per_second": len(sources) / float(np.median(alone)),
        "ratio": float(np.median(np.array(alone) / np.array(whole))),
        "processor_ms": processor_ms(detector, sources),
    }


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def processor_ms(detector: Detector, sources: list[ImageSource]) -> dict[str, float]:
    """Stage -> mean processor time per image, ms, which other programs on the machine change little."""
    record = detector.record
    spent: dict[str, float] = {}

    def timed(part: str, call: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = call()
        spent[part] = spent.get(part, 0.0) + time.process_time() - started
        return result

    for source in sources:
        image = timed("read", source.read)
        canvas, _ = timed("letterbox", lambda: fit(image, record.image_size, record.preprocessing))  # noqa: B023
        timed("network", lambda: _detect(detector.runtime, canvas[None]))  # noqa: B023
        (found,) = detector.detect([image])
        drawn = timed("draw", lambda: draw(image, found, record.class_names))  # noqa: B023
        timed("encode", lambda: encode(drawn, ".jpg"))  # noqa: B023
    return {part: 1000 * seconds / len(sources) for part, seconds in spent.items()}


def main() -> None:
    """Measure the case on standard input; a failure is reported as {"error": ...}."""
    case = Case(**json.load(sys.stdin))
    try:
        answer = measure(case)
    except LookonceError as error:
        answer = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 (runtimes raise their own types for a size or batch they reject)
        size = size_in_words(case.image_size) if case.image_size else "its own size"
        images = counted(case.batch, "image")
        reason = " ".join(str(error).split())[:300]
        answer = {
            "error": f"{case.weights}: {case.runtime} cannot run {images} of {size} ({reason}); try another runtime"
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
