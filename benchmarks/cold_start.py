"""The cost of a start: processor time and wall-clock time of whole commands, in new processes.

    python benchmarks/cold_start.py [--weights CHECKPOINT] [--base PYTHON] [--repeats 5]

Processor time counts, because it hardly depends on what else the machine does: each row is the least of its repeats.
The weights (default: an untrained network of 80 classes) are exported to ONNX. --base is a Python with the base
install, without PyTorch, which runs --help and the prediction (default: this Python). The last row is what `import
torch` takes of the export.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

AIMS = {"--help": 0.25, "first prediction (ONNX)": 1.2, "export to ONNX": 8.0}  # seconds of processor time


def cost(command: Sequence[str], repeats: int) -> tuple[float, float]:
    """(least processor time of the command and its children, least wall-clock time), in seconds."""
    measured = []
    for _ in range(repeats):
        began, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        processor = after.children_user + after.children_system - before.children_user - before.children_system
        measured.append((processor, time.perf_counter() - began))
    return min(processor for processor, _ in measured), min(wall for _, wall in measured)


def untrained(folder: Path) -> Path:
    """A checkpoint of the full network, whose weights were not trained."""
    import torch

    from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
    from lookonce.settings.dialects import DIALECTS
    from lookonce.settings.record import FULL_CHANNELS, ModelRecord
    from lookonce.weights.checkpoint import save_checkpoint

    names = tuple(f"class {number}" for number in range(80))
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=FULL_CHANNELS,
        class_names=names,
        category_ids=tuple(range(80)),
        image_size=(416, 416),
    )
    model = YoloV3Tiny(len(names))
    initialise(model, torch.Generator().manual_seed(0))
    save_checkpoint(folder, state=model.state_dict(), record=record)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--base", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = options.weights.absolute() if options.weights else untrained(folder / "untrained")
        image, model = folder / "image.jpg", folder / "model.onnx"
        cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
        ours, base = [sys.executable, "-m", "lookonce"], [options.base, "-m", "lookonce"]
        export = [*ours, "export", str(weights), "--to", "onnx", "--output", str(model), "--overwrite"]
        commands = {
            "export to ONNX": export,
            "--help": [*base, "--help"],
            "first prediction (ONNX)": [*base, "predict", str(image), "--weights", str(model)],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        os.chdir(folder)
        print(f"{'command':24}  processor s  aim s  wall-clock s")
        for command, words in commands.items():
            processor, wall = cost(words, options.repeats if command != "export to ONNX" else 2)
            print(f"{command:24}  {processor:11.2f}  {AIMS.get(command, ''):>5}  {wall:12.2f}", flush=True)


if __name__ == "__main__":
    main()
