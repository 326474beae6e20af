"""Throughput of `lookonce predict` (read, detect, draw, write), relative to the network alone.

    python benchmarks/predict.py [WEIGHTS IMAGES] [--threshold 0.25] [--rounds 5]

Default WEIGHTS and IMAGES: the full network at 416 pixels and 200 synthetic images of about 640x480
(benchmarks/standard.py). Each round runs, in turns in one process: the network alone (inputs ready in memory; with
decoding and NMS), `lookonce predict` writing JSON, and `lookonce predict` with annotated images. Ratios are computed
within a round, so other programs on the machine affect them little; their medians are the result.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import standard

from lookonce.letterbox import fit
from lookonce.prediction.draw import draw
from lookonce.prediction.media import ImageSource
from lookonce.prediction.renderer import encode
from lookonce.prediction.sources import find_images
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime
from lookonce.workflows.predict import predict_with
from lookonce.workflows.predict_request import PredictRequest

BATCH = 20  # for the network alone: large enough that the tail of a batch does not matter
PARTS = {"predict": "json", "with drawings": "images,json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("images", nargs="?")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"), help="folder of the generated files")
    arguments = parser.parse_args()
    weights, images = arguments.weights, arguments.images
    if weights is None or images is None:
        images, _, weights = standard.make(arguments.folder)
    runtime = load_runtime(weights)
    sources = find_images(images)
    canvases = np.stack(
        [fit(one.read(), runtime.record.image_size, runtime.record.preprocessing)[0] for one in sources]
    )
    threshold = arguments.threshold or standard.usual_threshold(runtime, canvases)
    detector = Detector(runtime, score_threshold=threshold)
    seconds_alone(runtime, canvases[:BATCH], detector)  # warms up
    print(f"{runtime.name}, {len(sources)} images, network input {canvases.shape[1]}x{canvases.shape[2]}")
    print("round   network alone" + "".join(f"{name:>16}   ratio" for name in PARTS))
    ratios: dict[str, list[float]] = {name: [] for name in PARTS}
    for number in range(1, arguments.rounds + 1):
        line = f"{number:5}"
        for name, save in PARTS.items():
            alone = seconds_alone(runtime, canvases, detector)
            whole = seconds_whole(runtime, weights, str(images), threshold, save)
            ratios[name].append(alone / whole)
            line += f" {len(sources) / alone:13.1f}/s {len(sources) / whole:12.1f}/s {alone / whole:7.2f}"
        print(line, flush=True)
    print("median ratio: " + ", ".join(f"{name} {statistics.median(values):.3f}" for name, values in ratios.items()))
    print_stages(sources, detector)


def thresholds(detector: Detector) -> dict[str, float]:
    return {
        "score_threshold": detector.score_threshold,
        "iou_threshold": detector.iou_threshold,
        "max_detections": detector.max_detections,
    }


def seconds_alone(runtime: Runtime, canvases: np.ndarray, detector: Detector) -> float:
    started = time.perf_counter()
    for start in range(0, len(canvases), BATCH):
        runtime.detect(canvases[start : start + BATCH], **thresholds(detector))
    return time.perf_counter() - started


def seconds_whole(runtime: Runtime, weights: Path, images: str, threshold: float, save: str) -> float:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        request = PredictRequest(images, weights=weights, threshold=threshold, save=save, output=Path(folder))
        return predict_with(runtime, request).seconds


def print_stages(sources: list[ImageSource], detector: Detector) -> None:
    """Processor time per image of each stage, which other programs on the machine change little."""
    spent = dict.fromkeys(("read", "detect", "draw", "encode"), 0.0)
    num_boxes = 0
    for source in sources:
        moments = [time.process_time()]
        image = source.read()
        moments.append(time.process_time())
        (found,) = detector.detect([image])
        moments.append(time.process_time())
        drawn = draw(image, found, detector.record.class_names)
        moments.append(time.process_time())
        encode(drawn, ".jpg")
        moments.append(time.process_time())
        num_boxes += len(found)
        for name, start, stop in zip(spent, moments[:-1], moments[1:], strict=True):
            spent[name] += stop - start
    network = spent["detect"]
    whole = network + spent["read"]
    drawn = whole + spent["draw"] + spent["encode"]
    print(f"processor time: detection takes {network / whole:.3f} of the total, {network / drawn:.3f} with drawings")
    print(
        f"processor ms per image, {num_boxes / len(sources):.1f} boxes: "
        + ", ".join(f"{name} {1000 * total / len(sources):.1f}" for name, total in spent.items())
    )


if __name__ == "__main__":
    main()
