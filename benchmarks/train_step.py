"""A training step on the CPU, beside plain eager PyTorch and the `ultralytics` package, in turns.

    python benchmarks/train_step.py [--threads 2] [--rounds 5] [--batch 8] [--peer] [--folder build/benchmark]
                                    [--json FILE]

A step is the whole of it: images to float, forward, loss, backward, gradient clipping, optimizer, EMA; 80 classes, 416
pixels, float32, a batch in memory. Random weights and images.

    ours         `train_one_epoch` with the default settings, with memory kept as in `lookonce train`
    eager        the same network, loss and optimizer as PyTorch's defaults make it: modules in the paper's order (pool
                 after the activation), contiguous layout, optimizer and EMA without fused kernels
    ultralytics  with --peer: its yolov3-tiny.yaml (8.03 GFLOP an image, ours 5.57), its loss, SGD, EMA and clipping,
                 in an environment and process of its own (benchmarks/peers/compare.py)

Ratios are computed within a round; their medians are the result. "of sgemm" compares 3 x 5.57 GFLOP an image (forward
and twice as much backward) with the machine's matrix product, measured in the same round.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from limits import sgemm
from steps import gflop_a_step, make_learner, make_record, make_settings, random_batch
from torch import Tensor, nn

from lookonce.cores import memory_kept
from lookonce.data.loader import Batch
from lookonce.model.backbone import ConvBlock, activate
from lookonce.model.loss import DetectionLoss
from lookonce.training.engine import Learner, reproducible, to_device, train_one_epoch

CPU = torch.device("cpu")
WARM_UP, STEPS = 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=416)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record = make_record(options.image_size, options.width)
    learner = make_learner(make_settings(options.image_size, options.batch, width=options.width), record, CPU)
    batch = random_batch(options.image_size, options.batch)
    steps: dict[str, Callable[[], float]] = {"ours": lambda: our_step(learner, batch), "eager": Eager(learner, batch)}
    if options.peer:
        steps["ultralytics"] = peer_step(options.folder, options.threads, options.batch)
    rounds = [
        {"sgemm": sgemm()} | {name: options.batch / step() for name, step in steps.items()}
        for _ in range(options.rounds)
    ]
    result = summary(rounds, gflop_a_step(record, options.batch) / options.batch)
    result |= {"threads": options.threads, "batch": options.batch, "load": os.getloadavg()[0]}
    for name, value in result.items():
        print(f"{name:24s} {value:8.3f}")
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, **result}, indent=1))


def summary(rounds: list[dict[str, float]], gflop_an_image: float) -> dict[str, float]:
    """Medians over the rounds: images/s of each, ours as a ratio to the others, and the share of sgemm."""
    names = [name for name in rounds[0] if name != "sgemm"]
    result = {f"{name}, images/s": statistics.median(one[name] for one in rounds) for name in names}
    for name in names[1:]:
        result[f"ours / {name}"] = statistics.median(one["ours"] / one[name] for one in rounds)
    result["ours, of sgemm"] = statistics.median(one["ours"] * gflop_an_image / one["sgemm"] for one in rounds)
    return result


def our_step(learner: Learner, batch: Batch) -> float:
    """Seconds of the fastest of STEPS steps."""
    with memory_kept(), reproducible(CPU):
        return least_seconds(lambda: list(train_one_epoch(learner, [batch], epoch=0)))


def least_seconds(step: Callable[[], object]) -> float:
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return min(seconds[WARM_UP:])


class PlainBlock(ConvBlock):
    """A ConvBlock as one writes it: convolution, BatchNorm, activation, then the max pool."""

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.norm(self.conv(x)), self.activation)
        return F.max_pool2d(x, 2) if self.then_pool else x


class Eager:
    """A step of the same network in plain PyTorch."""

    def __init__(self, learner: Learner, batch: Batch) -> None:
        self.model: nn.Module = copy.deepcopy(learner.model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for module in self.model.modules():
            if isinstance(module, ConvBlock):
                module.__class__ = PlainBlock
        self.loss: DetectionLoss = learner.loss
        self.options = learner.options
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.05)
        self.batch = batch

    def __call__(self) -> float:
        return least_seconds(self.step)

    def step(self) -> None:
        images, targets = to_device(self.batch, self.options)
        loss = self.loss(self.model(images.contiguous()), targets).total
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        float(loss.detach())
        with torch.no_grad():
            for average, present in zip(self.average.parameters(), self.model.parameters(), strict=True):
                average.mul_(0.998).add_(present, alpha=0.002)


def peer_step(folder: Path, threads: int, batch: int) -> Callable[[], float]:
    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    from compare import Peer

    peer = Peer((folder / "peers").absolute(), threads)
    print(f"ultralytics: {peer.version}, {peer.greeting}")
    return lambda: peer.train_step(batch)


if __name__ == "__main__":
    main()
