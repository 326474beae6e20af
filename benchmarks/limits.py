"""The limits of this machine that lookonce is measured against, as a table and as JSON.

    python benchmarks/limits.py [--threads 2] [--json FILE]

    sgemm    GFLOP/s of a float32 matrix product, 1024 x 1024, with PyTorch's BLAS and all threads: the limit of
             convolutions. In parentheses one thread.
    memory   GB/s of copying an array larger than every cache, read and written bytes together, with all threads
    jpeg     images/s of decoding a JPEG of about 640x480 with OpenCV, one thread; the limit of a loader is that times
             the cores

Each is the best of several repetitions: other programs can only slow them down.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from lookonce.cores import usable_threads
from lookonce.data.synthetic import SceneOptions, make_scene
from lookonce.prediction.renderer import encode

SIDE = 1024
COPIED = 2**26  # float32 values: 256 MB
IMAGES = 8
REPETITIONS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    limits = measure(options.threads)
    for name, value in limits.items():
        print(f"{name:24s} {value:8.1f}")
    if options.json:
        options.json.write_text(json.dumps(limits, indent=1))


def measure(threads: int, *, side: int = SIDE, copied: int = COPIED, images: int = IMAGES) -> dict[str, float]:
    torch.set_num_threads(1)
    one = sgemm(side)
    torch.set_num_threads(threads)
    return {
        "threads": threads,
        "sgemm GFLOP/s": sgemm(side),
        "sgemm GFLOP/s, 1 thread": one,
        "memory GB/s": memory(copied),
        "jpeg images/s, 1 thread": jpeg(images),
    }


def sgemm(side: int = SIDE) -> float:
    """GFLOP/s with the threads that PyTorch has been given."""
    a, b, out = (torch.rand(side, side) for _ in range(3))
    return 2 * side**3 / least_seconds(lambda: torch.mm(a, b, out=out)) / 1e9


def memory(values: int) -> float:
    source, target = torch.ones(values), torch.ones(values)
    return 2 * 4 * values / least_seconds(lambda: target.copy_(source)) / 1e9


def jpeg(images: int) -> float:
    cv2.setNumThreads(1)
    scenes = [make_scene(0, "val", number, SceneOptions(sides=(480, 640))).image for number in range(images)]
    files = [torch.frombuffer(bytearray(encode(scene, ".jpg")), dtype=torch.uint8).numpy() for scene in scenes]
    return images / least_seconds(lambda: [cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files])


def least_seconds(work: Callable[[], object]) -> float:
    """Of REPETITIONS, after one to fill caches and start threads."""
    work()
    seconds = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
