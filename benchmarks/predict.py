"""How much of the network's own rate is left when pictures are read, detected, drawn and written.

    python benchmarks/predict.py WEIGHTS PICTURES [--threshold 0.25] [--rounds 3]

Prints pictures a second of the network alone (canvases ready in memory, decoding and suppression included), of the
whole of `lookonce predict`, and their ratio, measured in turns in one process. Needs a quiet machine.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np

from lookonce.data.transforms import fit
from lookonce.prediction.sources import PictureSource, find_pictures
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.workflows.load import load_runtime
from lookonce.workflows.predict import predict_with

BATCH = 4  # as prediction/predictor.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("pictures")
    parser.add_argument("--threshold", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    runtime = load_runtime(arguments.weights)
    sources = find_pictures(arguments.pictures)
    canvases = np.stack(
        [fit(one.read(), runtime.record.image_size, runtime.record.preprocessing)[0] for one in sources]
    )
    detector = Detector(runtime, score_threshold=arguments.threshold)
    runtime.detect(canvases[:BATCH], **thresholds(detector))  # warms up
    print(f"{runtime.name}, {len(sources)} pictures, canvas {canvases.shape[1]}x{canvases.shape[2]}")
    print("round   network alone   predict   ratio")
    for number in range(1, arguments.rounds + 1):
        alone = len(sources) / seconds_alone(runtime, canvases, detector)
        whole = len(sources) / seconds_whole(runtime, arguments.weights, arguments.pictures, arguments.threshold)
        print(f"{number:5} {alone:13.1f}/s {whole:7.1f}/s {whole / alone:7.2f}")
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


def seconds_whole(runtime: Runtime, weights: Path, pictures: str, threshold: float) -> float:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return predict_with(runtime, pictures, weights=weights, threshold=threshold, output=Path(folder)).seconds


def print_stages(sources: list[PictureSource], detector: Detector) -> None:
    """Processor time a picture of each stage: other programs on the machine change it little."""
    from lookonce.prediction.draw import draw
    from lookonce.workflows.predict import encode

    spent = dict.fromkeys(("read", "detect", "draw", "encode"), 0.0)
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
        for name, start, stop in zip(spent, moments[:-1], moments[1:], strict=True):
            spent[name] += stop - start
    print(
        "processor ms a picture: "
        + ", ".join(f"{name} {1000 * total / len(sources):.1f}" for name, total in spent.items())
    )


if __name__ == "__main__":
    main()
