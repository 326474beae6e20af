"""Throughput compared with YOLOv3-tiny of the `ultralytics` package, in turns with the same number of threads.

    python benchmarks/peers/compare.py [--threads 2] [--rounds 5] [--folder build/benchmark]

Creates a separate environment in FOLDER/peers (about 6 GB with PyTorch; uv uses its cache) and runs the package there
in another process: it is under the AGPL and is no part or dependency of lookonce. Both networks have random weights,
80 classes and 416 pixels; theirs is built from its own yolov3-tiny.yaml, which has a different head. The images are the
200 of benchmarks/standard.py. Each round measures, in turns:

    network   inputs ready in memory; ours with decoding and NMS, in the default runtime; theirs with its decoding, at
              batch size 1 or 8, whichever is faster
    predict   reading, letterbox, network and boxes, without drawing; ours also writes its JSON files

Ratios are computed within a round; their medians are the result. Processor time, summed over all threads, is reported
too: other programs on the machine affect it less than throughput.
"""

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = (HERE.parents[1] / "run", "uv")
NETWORK_IMAGES = 64
PEER_BATCHES = (1, 8)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    arguments = parser.parse_args()
    # Set before the libraries that read them are imported; our runtime uses the first.
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(arguments.threads))
    peer = Peer((arguments.folder / "peers").absolute(), arguments.threads)
    ours = Ours(arguments.folder.absolute())
    print(f"ours: {ours.runtime.name}, 5.57 GFLOP per image; theirs: {peer.version}, {peer.greeting}")
    print(f"{arguments.threads} threads each")
    print("         ------ images/s ------   --- processor ms ---")
    print("round        ours  theirs  ratio    ours  theirs  ratio")
    ratios: dict[str, list[float]] = {}
    for number in range(1, arguments.rounds + 1):
        for name, own, others in (
            ("network", ours.network(), peer.network()),
            ("predict", ours.predict(), peer.predict(ours.images)),
        ):
            rate, processor = own.rate / others.rate, others.processor_ms / own.processor_ms
            ratios.setdefault(f"{name}, rate", []).append(rate)
            ratios.setdefault(f"{name}, processor time", []).append(processor)
            print(
                f"{number} {name} {own.rate:7.1f} {others.rate:7.1f} {rate:6.2f} "
                f"{own.processor_ms:7.1f} {others.processor_ms:7.1f} {processor:6.2f}",
                flush=True,
            )
    peer.close()
    for name, values in ratios.items():
        print(f"median ratio, {name}: {statistics.median(values):.2f}")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """rate: images/s; processor_ms: processor time per image, summed over all threads."""

    rate: float
    processor_ms: float

    @staticmethod
    def of(count: int, seconds: float, processor_seconds: float) -> "Speed":
        return Speed(rate=count / seconds, processor_ms=1000 * processor_seconds / count)


class Peer:
    """The ultralytics package in a separate environment and process."""

    def __init__(self, environment: Path, threads: int) -> None:
        python = self._set_up(environment)
        self.version = self._version(python)
        settings = environment / "settings"
        settings.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [python, HERE / "worker.py", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"YOLO_CONFIG_DIR": str(settings), "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"},
        )
        self.greeting = self._answer()

    def network(self) -> Speed:
        """With the faster batch size of PEER_BATCHES."""
        asked = [self._ask(NETWORK_IMAGES, f"network {NETWORK_IMAGES} {batch}") for batch in PEER_BATCHES]
        return max(asked, key=lambda speed: speed.rate)

    def predict(self, images: Path) -> Speed:
        return self._ask(len(list(images.iterdir())), f"predict {images}")

    def train_step(self, batch: int) -> tuple[float, float]:
        """Seconds and processor seconds of a training step with `batch` images."""
        seconds, processor = self._reply(f"train {batch}").split()
        return float(seconds), float(processor)

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, count: int, question: str) -> Speed:
        seconds, processor = self._reply(question).split()
        return Speed.of(count, float(seconds), float(processor))

    def _reply(self, question: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return line.removeprefix("ANSWER ").strip()
        raise SystemExit(f"peer process: exit status {self._process.wait()}; run worker.py by hand to see the error")

    def _set_up(self, environment: Path) -> Path:
        python = environment / "bin" / "python"
        if not python.exists():
            import torch

            subprocess.run([*UV, "venv", "--python", sys.executable, environment], check=True)
            # The same PyTorch version as ours, which is in the cache of uv.
            packages = ["ultralytics", f"torch=={torch.__version__.partition('+')[0]}"]
            subprocess.run([*UV, "pip", "install", "--python", python, *packages], check=True)
        return python

    def _version(self, python: Path) -> str:
        code = "import importlib.metadata as m; print('ultralytics', m.version('ultralytics'))"
        return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


class Ours:
    """The default runtime on the network and images of benchmarks/standard.py."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(HERE.parent))
        import numpy as np
        import standard

        from lookonce.letterbox import fit
        from lookonce.prediction.sources import find_images
        from lookonce.runtimes.registry import load_runtime

        self.images, _, self._weights = standard.make(folder)
        self.runtime = load_runtime(self._weights)
        record = self.runtime.record
        sources = find_images(self.images)[:NETWORK_IMAGES]
        self._canvases = np.stack([fit(one.read(), record.image_size, record.preprocessing)[0] for one in sources])
        self._threshold = standard.usual_threshold(self.runtime, self._canvases)

    def network(self) -> Speed:
        known = self.runtime.record.thresholds
        started, processor = time.perf_counter(), time.process_time()
        self.runtime.detect(
            self._canvases,
            score_threshold=self._threshold,
            iou_threshold=known.iou,
            max_detections=known.max_detections,
        )
        return Speed.of(NETWORK_IMAGES, time.perf_counter() - started, time.process_time() - processor)

    def predict(self) -> Speed:
        from lookonce.workflows.predict import PredictRequest, predict_with

        processor = time.process_time()
        with tempfile.TemporaryDirectory() as output, contextlib.redirect_stdout(io.StringIO()):
            request = PredictRequest(
                str(self.images), weights=self._weights, threshold=self._threshold, save="json", output=Path(output)
            )
            done = predict_with(self.runtime, request)
        return Speed.of(done.num_images, done.seconds, time.process_time() - processor)


if __name__ == "__main__":
    main()
