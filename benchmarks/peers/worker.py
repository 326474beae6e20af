"""Runs in the environment of the peer: builds its network, then executes one timing command per line of input.

    predict FOLDER    -> seconds of its `predict` on the folder, and seconds of processor time
    network COUNT B   -> the same for COUNT images through the network with batch size B
    train B           -> the same for the fastest of a few training steps with B random images

Started by benchmarks/peers/compare.py. The ultralytics package is under the AGPL; nothing here is taken from it.
"""

import sys
import time

import torch
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.utils.torch_utils import ModelEMA

SIZE = 416
WARM_UP, STEPS = 2, 4


def main() -> None:
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    detector = YOLO("yolov3-tiny.yaml")
    network = detector.model.fuse(verbose=False).eval()
    answer(f"{gflop(network):.2f} GFLOP per image, torch {torch.__version__}")
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "network":
            answer(time_network(network, int(arguments[0]), int(arguments[1])))
        elif command == "train":
            answer(time_training(int(arguments[0])))
        else:
            answer(time_predict(detector, arguments[0], threads))


def answer(value: object) -> None:
    # ultralytics prints to standard output too; the prefix marks this program's lines.
    print(f"ANSWER {value}", flush=True)


@torch.inference_mode()
def gflop(network: torch.nn.Module) -> float:
    """GFLOP of the convolutions for one image; a multiply-add counts as 2."""
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


def time_training(batch: int) -> str:
    """Forward, loss, backward, clipping, SGD and EMA, as its trainer does in float32 on a CPU."""
    model = YOLO("yolov3-tiny.yaml").model.train().requires_grad_(True)
    model.args = get_cfg()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.937, nesterov=True)
    ema = ModelEMA(model)
    boxes = 7 * batch
    given = {
        "img": torch.randint(0, 256, (batch, 3, SIZE, SIZE), dtype=torch.uint8),
        "cls": torch.randint(0, 80, (boxes, 1)).float(),
        "bboxes": torch.rand(boxes, 4) * 0.3 + 0.2,
        "batch_idx": torch.arange(batch).repeat_interleave(7).float(),
    }
    spent = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter(), time.process_time()
        loss, _ = model({**given, "img": given["img"].float() / 255})
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        spent.append(since(*started))
    return min(spent[WARM_UP:], key=lambda one: float(one.split()[0]))


def time_predict(detector: YOLO, folder: str, threads: int) -> str:
    """Streams the results, as its documentation advises for long sources; nothing is drawn or written."""
    started = time.perf_counter(), time.process_time()
    for _ in detector.predict(folder, imgsz=SIZE, device="cpu", stream=True, verbose=False, save=False):
        # ultralytics resets the number of threads when it selects a device.
        torch.set_num_threads(threads)
    return since(*started)


def since(wall: float, processor: float) -> str:
    return f"{time.perf_counter() - wall} {time.process_time() - processor}"


if __name__ == "__main__":
    main()
