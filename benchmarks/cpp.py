"""Throughput of the C++ program on a folder, relative to the network alone and to lookonce predict.

    python benchmarks/cpp.py [MODEL IMAGES] [--threshold X] [--rounds 7] [--threads 2]

Default MODEL and IMAGES: the full network at 416 pixels and 200 synthetic images of about 640x480
(benchmarks/standard.py), each four times. Each round runs, in turns: `lookonce-infer --model-only` and then the folder,
in one process; and `lookonce predict` writing JSON. Ratios are computed within a round; their medians are the result.
Build the program first with `./run cpp build`, and run nothing else meanwhile.
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import standard
from predict import seconds_whole

from lookonce.cores import usable_threads
from lookonce.letterbox import fit
from lookonce.prediction.sources import find_images
from lookonce.runtimes.cpp import CppRuntime
from lookonce.runtimes.registry import load_runtime

SECONDS_ALONE = 4
TIMES = 4  # repetitions of each synthetic image in the list, so that a run takes some seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("images", nargs="?")
    parser.add_argument("--threshold", type=float, help="default: about eight boxes per image")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"), help="folder of the generated files")
    arguments = parser.parse_args()
    model, images = arguments.model, arguments.images
    if model is None or images is None:
        images, _, model = standard.make(arguments.folder)
        images = listed(images, arguments.folder / "images.txt")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read by predict
    program, runtime, sources = CppRuntime(model).program, load_runtime(model), find_images(images)
    canvases = [fit(one.read(), runtime.record.image_size, runtime.record.preprocessing)[0] for one in sources[:16]]
    threshold = arguments.threshold or standard.usual_threshold(runtime, np.stack(canvases))
    print(
        f"{model}, {len(sources)} images, confidence threshold {threshold:.2g}, {arguments.threads} threads; images/s"
    )
    print("round   network alone   folder   ratio   lookonce predict   ratio")
    ratios: dict[str, list[float]] = {"of the network alone": [], "to lookonce predict": []}
    for number in range(1, arguments.rounds + 1):
        alone, folder = rates(program, model, str(images), threshold)
        python = len(sources) / seconds_whole(runtime, model, str(images), threshold, "json")
        ratios["of the network alone"].append(folder / alone)
        ratios["to lookonce predict"].append(folder / python)
        line = f"{number:5} {alone:15.1f} {folder:8.1f} {folder / alone:7.3f} {python:18.1f} {folder / python:7.2f}"
        print(line, flush=True)
    print("median ratio " + ", ".join(f"{name} {statistics.median(values):.3f}" for name, values in ratios.items()))


def listed(images: Path, listing: Path) -> Path:
    paths = sorted(str(path.resolve()) for path in images.iterdir()) * TIMES
    listing.write_text("\n".join(paths) + "\n", encoding="utf-8")
    return listing


def rates(program: str, model: Path, images: str, threshold: float) -> tuple[float, float]:
    """(throughput of the network alone, of the folder), images/s."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, str(model), images, "--output", folder, "--no-images", f"--threshold={threshold}"]
        command.append(f"--model-only={SECONDS_ALONE}")
        output = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    alone, whole = re.findall(r"([\d.]+) images/s", output)
    return float(alone), float(whole)


if __name__ == "__main__":
    main()
