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
and twice as much backward) with a matrix product of 1024 x 1024, measured in the same round. Other programs disturb
processor time less than wall-clock time, but with several threads it counts the waiting of one for another.
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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from learner import gflop_a_step, make_learner, make_record, make_settings, random_batch
from limits import SIDE
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
    steps: dict[str, Callable[[], Seconds]] = {"ours": lambda: our_step(learner, batch), "eager": Eager(learner, batch)}
    if options.peer:
        steps["ultralytics"] = peer_step(options.folder, options.threads, options.batch)
    rounds = [{"sgemm": sgemm()} | {name: step() for name, step in steps.items()} for _ in range(options.rounds)]
    result = summary(
        rounds, images=options.batch, gflop=gflop_a_step(record, options.batch), sgemm_gflop=2 * SIDE**3 / 1e9
    )
    result |= {"threads": options.threads, "batch": options.batch, "load": os.getloadavg()[0]}
    for name, value in result.items():
        print(f"{name:36s} {value:8.3f}")
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, **result}, indent=1))


class Seconds(NamedTuple):
    """Of a step or a product; processor: summed over all threads."""

    wall: float
    processor: float


def summary(rounds: list[dict[str, Seconds]], *, images: int, gflop: float, sgemm_gflop: float) -> dict[str, float]:
    """Medians over the rounds: images/s of each, ours as a ratio to the others, and the share of sgemm."""
    names = [name for name in rounds[0] if name != "sgemm"]
    result = {f"{name}, images/s": statistics.median(images / one[name].wall for one in rounds) for name in names}
    for name in names[1:]:
        result[f"ours / {name}"] = statistics.median(one[name].wall / one["ours"].wall for one in rounds)
        result[f"ours / {name}, processor time"] = statistics.median(
            one[name].processor / one["ours"].processor for one in rounds
        )
    for kind, index in {"ours, of sgemm": 0, "ours, of sgemm, processor time": 1}.items():
        result[kind] = statistics.median(
            (gflop / one["ours"][index]) / (sgemm_gflop / one["sgemm"][index]) for one in rounds
        )
    return result


def sgemm() -> Seconds:
    a, b, out = (torch.rand(SIDE, SIDE) for _ in range(3))
    return least_seconds(lambda: torch.mm(a, b, out=out))


def our_step(learner: Learner, batch: Batch) -> Seconds:
    with memory_kept(), reproducible(CPU):
        return least_seconds(lambda: list(train_one_epoch(learner, [batch], epoch=0)))


def least_seconds(step: Callable[[], object]) -> Seconds:
    """The least of each over STEPS steps."""
    seconds = []
    for _ in range(WARM_UP + STEPS):
        started = time.perf_counter(), time.process_time()
        step()
        seconds.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return Seconds(*map(min, zip(*seconds[WARM_UP:], strict=True)))


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

    def __call__(self) -> Seconds:
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


def peer_step(folder: Path, threads: int, batch: int) -> Callable[[], Seconds]:
    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    from compare import Peer

    peer = Peer((folder / "peers").absolute(), threads)
    print(f"ultralytics: {peer.version}, {peer.greeting}")
    return lambda: Seconds(*peer.train_step(batch))


if __name__ == "__main__":
    main()
