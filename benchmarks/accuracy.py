"""Train from scratch, then evaluate the same weights during training, with `eval` and as an ONNX file.

    python benchmarks/accuracy.py --data PATH/TO/bccd --image-size 320 --epochs 30
    python benchmarks/accuracy.py --data PATH/TO/bccd --run runs/bccd-1       evaluate an existing run

Prints AP, AP50 and the time of each evaluation. Exit status 1 if AP of `eval` and ONNX on val differ by more than 1e-3.
"""

import argparse
import sys
import time
from pathlib import Path

from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.export import export
from lookonce.workflows.train import train

TOLERANCE = 1e-3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="evaluate this run instead of training one")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="modern")
    parser.add_argument("--output", type=Path, default=Path("runs/accuracy"))
    arguments = parser.parse_args()
    run = arguments.run or train_once(arguments)

    exported = arguments.output / "model.onnx"
    exported.parent.mkdir(parents=True, exist_ok=True)
    export(run, output=exported, overwrite=True)
    values = []
    for name, weights, split in (("eval", run, "val"), ("ONNX", exported, "val"), ("ONNX", exported, "test")):
        start = time.perf_counter()
        metrics = evaluate(
            weights=weights, data=arguments.data, split=split, output=arguments.output / f"{name}-{split}", resamples=0
        ).metrics
        seconds = time.perf_counter() - start
        classes = "  ".join(f"{label} {found.AP50:.3f}" for label, found in metrics.per_class.items())
        print(f"{name:8s} {split:5s} AP {metrics.AP:.4f}  AP50 {metrics.AP50:.4f}  ({seconds:.0f} s)  AP50: {classes}")
        if split == "val":
            values.append(metrics.AP)
    difference = max(values) - min(values)
    print(f"largest difference on val: {difference:.1e} AP (tolerance {TOLERANCE:g})")
    return int(difference > TOLERANCE)


def train_once(arguments: argparse.Namespace) -> Path:
    start = time.perf_counter()
    result = train(
        data=str(arguments.data),
        recipe=arguments.recipe,
        image_size=arguments.image_size,
        epochs=arguments.epochs,
        seed=arguments.seed,
        eval_every=5,
    )
    seconds = time.perf_counter() - start
    metrics = result.metrics
    print(f"training val   AP {metrics['AP']:.4f}  AP50 {metrics['AP50']:.4f}  ({seconds:.0f} s)")
    return result.run.path


if __name__ == "__main__":
    sys.exit(main())
