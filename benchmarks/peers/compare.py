"""Our speed beside that of the `ultralytics` package's YOLOv3-tiny, measured in turns with the same number of threads.

    python benchmarks/peers/compare.py [--threads 2] [--rounds 5] [--folder build/benchmark]

Makes an environment of its own in FOLDER/peers (some 6 GB with PyTorch; uv takes what it has in its cache) and runs
the package there, as another process: it is under the AGPL, and no part or dependency of lookonce. Both networks have
random weights and 80 classes and see 416 pixels; theirs is built from its own yolov3-tiny.yaml, whose head is another
one. The pictures are the 200 of benchmarks/standard.py. Each round measures, one after the other:

    network   pictures ready in memory; ours with decoding and suppression, in the default runtime; theirs with its
              decoding, alone or eight at a time, whichever is faster
    predict   reading, letterboxing, network and boxes, without drawing; ours writes its JSON files too

Rates of a round are of neighbours in time; the medians of their ratios are the result.
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
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = (HERE.parents[1] / "run", "uv")
NETWORK_PICTURES = 64
PEER_BATCHES = (1, 8)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    arguments = parser.parse_args()
    # Before anything that reads them is imported: our runtime counts its threads by the first.
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(arguments.threads))
    peer = Peer((arguments.folder / "peers").absolute(), arguments.threads)
    ours = Ours(arguments.folder.absolute())
    print(f"ours: {ours.runtime.name}, 5.57 GFLOP a picture; theirs: {peer.version}, {peer.greeting}")
    print(f"{arguments.threads} threads each")
    print("round    network: ours  theirs  ratio    predict: ours  theirs  ratio   (pictures/s)")
    ratios: dict[str, list[float]] = {"network": [], "predict": []}
    for number in range(1, arguments.rounds + 1):
        network = (ours.network_rate(), peer.network_rate())
        predict = (ours.predict_rate(), peer.predict_rate(ours.pictures))
        ratios["network"].append(network[0] / network[1])
        ratios["predict"].append(predict[0] / predict[1])
        print(
            f"{number:5} {network[0]:16.1f} {network[1]:7.1f} {ratios['network'][-1]:6.2f} "
            f"{predict[0]:16.1f} {predict[1]:7.1f} {ratios['predict'][-1]:6.2f}",
            flush=True,
        )
    peer.close()
    print("median ratio: " + ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in ratios.items()))


class Peer:
    """The package in its own environment and process."""

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

    def network_rate(self) -> float:
        return max(NETWORK_PICTURES / float(self._ask(f"network {NETWORK_PICTURES} {batch}")) for batch in PEER_BATCHES)

    def predict_rate(self, pictures: Path) -> float:
        return len(list(pictures.iterdir())) / float(self._ask(f"predict {pictures}"))

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, question: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return line.removeprefix("ANSWER ").strip()
        raise SystemExit(f"the peer ended with status {self._process.wait()}; run its worker by hand to see why")

    def _set_up(self, environment: Path) -> Path:
        python = environment / "bin" / "python"
        if not python.exists():
            import torch

            subprocess.run([*UV, "venv", "--python", sys.executable, environment], check=True)
            # The same PyTorch as ours, which uv has already.
            packages = ["ultralytics", f"torch=={torch.__version__.partition('+')[0]}"]
            subprocess.run([*UV, "pip", "install", "--python", python, *packages], check=True)
        return python

    def _version(self, python: Path) -> str:
        code = "import importlib.metadata as m; print('ultralytics', m.version('ultralytics'))"
        return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


class Ours:
    """The default runtime on the network and pictures of benchmarks/standard.py."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(HERE.parent))
        import numpy as np
        import standard

        from lookonce.data.transforms import fit
        from lookonce.prediction.sources import find_pictures
        from lookonce.workflows.load import load_runtime

        self.pictures, _, self._weights = standard.make(folder)
        self.runtime = load_runtime(self._weights)
        record = self.runtime.record
        sources = find_pictures(self.pictures)[:NETWORK_PICTURES]
        self._canvases = np.stack([fit(one.read(), record.image_size, record.preprocessing)[0] for one in sources])
        self._threshold = standard.usual_threshold(self.runtime, self._canvases)

    def network_rate(self) -> float:
        known = self.runtime.record.thresholds
        started = time.perf_counter()
        self.runtime.detect(
            self._canvases,
            score_threshold=self._threshold,
            iou_threshold=known.iou,
            max_detections=known.max_detections,
        )
        return NETWORK_PICTURES / (time.perf_counter() - started)

    def predict_rate(self) -> float:
        from lookonce.workflows.predict import predict_with

        with tempfile.TemporaryDirectory() as output, contextlib.redirect_stdout(io.StringIO()):
            done = predict_with(
                self.runtime,
                str(self.pictures),
                weights=self._weights,
                threshold=self._threshold,
                save="json",
                output=Path(output),
            )
        return done.num_pictures / done.seconds


if __name__ == "__main__":
    main()
