"""A training step of several ranks, its gradients summed during the backward pass or after it, in turns.

    python benchmarks/gradient_sums.py [--ranks 2] [--rounds 5] [--batch 4] [--image-size 416] [--width 1.0]

Processes of this machine, by gloo, with one thread each; images per rank, random. Ratios are computed within a round,
and their medians are the result: "waiting" is the share of the step in which the main thread waits for the sums.
"""

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from learner import make_learner, make_record, make_settings, random_batch

from lookonce.cores import memory_kept
from lookonce.on_ranks import in_ranks
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.settings.resolve import resolve
from lookonce.training import engine
from lookonce.training.engine import reproducible, train_one_epoch
from lookonce.training.gradient_sums import GradientSums

CPU = torch.device("cpu")
WAYS = {"during": True, "after": False}


class TimedSums(GradientSums):
    waited = 0.0

    def finish(self) -> None:
        started = time.perf_counter()
        super().finish()
        TimedSums.waited += time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=416)
    parser.add_argument("--width", type=float, default=1.0)
    options = vars(parser.parse_args())
    folder = str(Path(__file__).parent)  # the ranks import this file
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    from gradient_sums import measure  # by the name under which the ranks find it, not __main__

    settings = resolve({"devices": options.pop("ranks")}).settings
    for name, value in in_ranks(settings, "cpu", measure, options).items():
        print(f"{name:24s} {value:8.3f}")


def measure(
    *, rounds: int, batch: int, image_size: int, width: float, rank_group: RankGroup = SINGLE_RANK
) -> dict[str, float]:
    """Medians over the rounds; the first round is left out."""
    torch.set_num_threads(1)
    learner = make_learner(make_settings(image_size, batch, width=width), make_record(image_size, width), CPU)
    images = random_batch(image_size, batch)
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with memory_kept(), reproducible(CPU):
        for _ in range(rounds + 1):
            for way, overlap in WAYS.items():
                rank_group.gather(None)  # all begin together
                TimedSums.waited, started = 0.0, time.perf_counter()
                with patch.object(engine, "GradientSums", partial(TimedSums, overlap=overlap)):
                    list(train_one_epoch(learner, [images], epoch=0))
                seconds[way].append((time.perf_counter() - started, TimedSums.waited))
    during, after = (seconds[way][1:] for way in WAYS)
    pairs = zip(during, after, strict=True)
    return {
        "step, seconds": statistics.median(step for step, _ in during),
        "after / during": statistics.median(late[0] / early[0] for early, late in pairs),
        **{f"waiting, {way}": statistics.median(wait / step for step, wait in seconds[way][1:]) for way in WAYS},
    }


if __name__ == "__main__":
    main()
