"""Runs in the peer's own environment: prepares its network, then times what it is asked for, one line a question.

    predict FOLDER    -> seconds for its whole `predict` over the folder, and seconds of processor time
    network COUNT B   -> the same for COUNT pictures through the network, B at a time

Started by benchmarks/peers/compare.py. The ultralytics package is under the AGPL; nothing here is taken from it.
"""

import sys
import time

import torch
from ultralytics import YOLO

SIZE = 416


def main() -> None:
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    detector = YOLO("yolov3-tiny.yaml")
    network = detector.model.fuse(verbose=False).eval()
    answer(f"{gflop(network):.2f} GFLOP a picture, torch {torch.__version__}")
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "network":
            answer(time_network(network, int(arguments[0]), int(arguments[1])))
        else:
            answer(time_predict(detector, arguments[0], threads))


def answer(value: object) -> None:
    # Its own messages go to standard output too; the mark tells ours from them.
    print(f"ANSWER {value}", flush=True)


@torch.inference_mode()
def gflop(network: torch.nn.Module) -> float:
    """In the convolutions, for one picture; a multiplication and its addition are two."""
    macs = 0

    def count(conv: torch.nn.Conv2d, _inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += conv.weight.numel() * output.shape[2] * output.shape[3]

    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    hooks = [conv.register_forward_hook(count) for conv in convolutions]
    network(torch.zeros(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return 2 * macs / 1e9


def time_network(network: torch.nn.Module, count: int, batch: int) -> str:
    images = torch.rand(batch, 3, SIZE, SIZE)
    with torch.inference_mode():
        network(images)
        started = time.perf_counter(), time.process_time()
        for _ in range(count // batch):
            network(images)
    return since(*started)


def time_predict(detector: YOLO, folder: str, threads: int) -> str:
    """Results are taken one by one, as its documentation advises for long sources; nothing is drawn or written."""
    started = time.perf_counter(), time.process_time()
    for _ in detector.predict(folder, imgsz=SIZE, device="cpu", stream=True, verbose=False, save=False):
        # It sets the number of threads itself when it chooses a device.
        torch.set_num_threads(threads)
    return since(*started)


def since(wall: float, processor: float) -> str:
    return f"{time.perf_counter() - wall} {time.process_time() - processor}"


if __name__ == "__main__":
    main()
