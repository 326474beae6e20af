"""`lookonce demo`: data, training, evaluation, export, prediction and report in one command."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookonce.cores import usable_processors
from lookonce.data.synthetic import write_synthetic
from lookonce.errors import SettingsError
from lookonce.log import get_logger, logging_to
from lookonce.request import old_names

NUM_STEPS = 6
# Half the channels and 256 pixels: what two processor cores train in about four minutes. Colour and place vary in the
# pictures themselves, so little augmentation is left to do; so few steps want a high rate and a short memory.
SETTINGS: dict[str, Any] = {
    "width": 0.5,
    "image_size": 256,
    "batch_size": 8,
    # At a quarter of the channels, 160 pixels and 6,000 pictures seen, AP50 was 0.26 with this, 0.19 with 0.002.
    "lr": 0.005,
    "warmup_epochs": 0.4,
    "ema_decay": 0.99,
    "aspect_jitter": 0.05,
    "hue": 0,
    "saturation": 1,
    "brightness": 1,
    "close_mosaic": 0,
    "eval_every": 2,
    "log_interval": 1000,
}


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """Where everything lies. AP50, AP of the exported file on the held-out pictures; -1 when training was stopped."""

    folder: Path
    AP50: float = -1.0
    AP: float = -1.0
    exit_code: int = 0


@old_names(pictures="num_images")
def demo(
    *, output: Path = Path("demo"), epochs: int = 8, num_images: int = 1500, held_out: int = 150, seed: int = 0
) -> Demonstration:
    """The whole workflow in about five minutes on two cores: make images, train, evaluate, export, predict, report.

    Nothing is downloaded or overwritten: if the folder exists, demo-2, demo-3 and so on is used.

    Parameters
    ----------
    output
        Folder to make.
    epochs
        Number of training epochs, 1 or more.
    num_images
        Number of training images to make, 1 or more.
    held_out
        Number of test images for the final scores and the report, 1 or more; the validation split has the same number.
    seed
        Random seed.
    """
    for name, count in {"epochs": epochs, "num_images": num_images, "held_out": held_out}.items():
        if count < 1:
            raise SettingsError(f"{name}: {count}; expected 1 or more", setting=name, value=count)
    started = time.perf_counter()
    with logging_to():
        folder = fresh_folder(output)
        with step(1, f"making {num_images + 2 * held_out:,} images of six kinds of objects on a table"):
            data = write_synthetic(
                folder / "data",
                train=num_images,
                val=held_out,
                test=held_out,
                seed=seed,
                workers=num_processes(num_images),
            )
        with step(2, "training a detector from scratch"):
            run = train_on(data, folder, epochs, seed)
        if run is None:
            return Demonstration(folder=folder, exit_code=75)
        demonstration = use(run, data, folder)
        log_lines(summary(demonstration, run, time.perf_counter() - started))
    return demonstration


def num_processes(images: int) -> int:
    """One a core; starting them does not pay for a few pictures."""
    return min(usable_processors(), 8) if images >= 100 else 1


def train_on(data: Path, folder: Path, epochs: int, seed: int) -> Path | None:
    """The run folder; None when somebody stopped the run."""
    from lookonce.workflows.train import train

    result = train(data=str(data), runs=folder, name="run", epochs=epochs, seed=seed, **SETTINGS)
    return None if result.stopped else result.run.path


def use(run: Path, data: Path, folder: Path) -> Demonstration:
    """What comes after the training; the pictures of split test have not been seen until here."""
    from lookonce.workflows import evaluate, export, predict
    from lookonce.workflows.report import report

    exported = folder / "detector.onnx"
    with step(3, "exporting it to ONNX, and comparing what the file answers"):
        log_lines(export.as_text(export.export(run, output=exported, images=str(data / "test2017"))))
    with step(4, "evaluating the exported file on the test images"):
        evaluation = evaluate.evaluate(weights=exported, data=data, split="test", output=folder / "eval")
        log_lines(evaluate.as_text(evaluation))
    with step(5, "drawing what it finds in them"):
        predicted = predict.predict(str(data / "test2017"), weights=exported, output=folder / "predictions")
        log_lines(predict.as_text(predicted))
    with step(6, "writing the report"):
        report(
            run,
            output=folder / "report.html",
            evaluation=folder / "eval",
            weights=exported,
            split="test",
            title="lookonce: the demo",
        )
    return Demonstration(folder=folder, AP50=evaluation.metrics.AP50, AP=evaluation.metrics.AP)


def log_lines(lines: Iterable[str]) -> None:
    for line in lines:
        get_logger().info(line)


def fresh_folder(wanted: Path) -> Path:
    """`wanted`, or wanted-2, wanted-3 and so on when something lies there."""
    folder, number = wanted, 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


@contextmanager
def step(number: int, what: str) -> Iterator[None]:
    """Says what begins, and how long it took."""
    started = time.perf_counter()
    get_logger().info(f"\n[{number}/{NUM_STEPS}] {what}")
    yield
    get_logger().info(f"      {time.perf_counter() - started:.0f} seconds")


def summary(demonstration: Demonstration, run: Path, seconds: float) -> list[str]:
    """Where everything lies, and what to do next."""
    folder = demonstration.folder
    places = {
        folder / "report.html": "everything on one page: open this first",
        folder / "predictions": "test images with their detections",
        folder / "detector.onnx": "the detector as one file that runs without PyTorch",
        run: "weights, settings, log and metrics of the training",
        folder / "eval": "scores and detections",
        folder / "data": "the images and their labels, in COCO layout",
    }
    width = max(len(str(path)) for path in places)
    scores = f"AP50 {demonstration.AP50:.3f}, AP {demonstration.AP:.3f}"
    return [
        "",
        f"Done in {seconds / 60:.1f} minutes. On the test images: {scores}.",
        "",
        *(f"  {path!s:<{width}}  {text}" for path, text in places.items()),
        "",
        "With your own images: lookonce train --data FOLDER",
    ]
