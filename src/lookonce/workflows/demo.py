"""`lookonce demo`: data, training, evaluation, export, prediction and report in one command."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from lookonce.cores import usable_processors, usable_threads
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import LookonceError, SettingsError
from lookonce.exit_codes import ExitCode
from lookonce.layout import Printed
from lookonce.log import get_logger, log_lines, logging_to
from lookonce.request import old_names
from lookonce.settings.names import counted
from lookonce.shown import command
from lookonce.storage import fresh_path
from lookonce.weights.pull import DEFAULT, pulled

NUM_STEPS = 6
# Fewer and larger objects than in a default scene: a short training learns them, at a smaller network input. An image
# takes 34 ms of processor time instead of 55.
SCENES = SceneOptions(sides=(256, 352), usual=(0.25, 0.6), tiny_share=0, max_things=6)
# Half the channels, which two CPU cores train in minutes. Colour and place vary in the images themselves, so they need
# little augmentation. So few steps need a high learning rate and an EMA over few steps.
SETTINGS: dict[str, Any] = {
    "width": 0.5,
    "batch_size": 8,
    # At a quarter of the channels, 160 pixels and 6,000 images in all, AP50 was 0.26 with this, 0.19 with 0.002.
    "lr": 0.005,
    "warmup_epochs": 0.4,
    "ema_decay": 0.99,
    "assign_top": 10,
    "objectness_prior": 0.01,
    "aspect_jitter": 0.05,
    "hue": 0,
    "saturation": 1,
    "brightness": 1,
    "close_mosaic": 0,
    "eval_every": 5,
    "check_images": False,  # they have just been written
    "log_interval": 1000,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained: side of the network input in pixels, epochs."""

    image_size: int
    epochs: int

    def seconds(self, images: int, images_per_second: float) -> float:
        """Estimated seconds of training on `images` images; images_per_second: throughput at PLANS[0].image_size.

        Time grows with the area: on two cores an image took 49 ms at 256 pixels and 28 ms at 192."""
        return self.epochs * images / images_per_second * (self.image_size / PLANS[0].image_size) ** 2


# The best first. AP50 is 0.824 with the third, 0.781 with the last (docs/demo.md). A machine too slow for the
# last one uses it nevertheless.
PLANS = (
    Plan(image_size=256, epochs=10),
    Plan(image_size=192, epochs=10),
    Plan(image_size=160, epochs=10),
    Plan(image_size=160, epochs=6),
)
LIMIT_SECONDS = 240.0
# The rest of the limit is for everything after the training, and for evaluations and checkpoints during it.
SHARE_TRAINED = 0.75


@dataclass(frozen=True, kw_only=True)
class Demonstration(Printed):
    """The folder with all results. run: that of the training, None if it was stopped, and then AP50 and AP are -1.
    AP50, AP: of the exported file on the test images. seconds: duration of the whole."""

    folder: Path
    run: Path | None = None
    AP50: float = -1.0
    AP: float = -1.0
    seconds: float = 0.0
    exit_code: int = 0


@old_names(pictures="num_images")
def demo(
    *,
    output: Path = Path("demo"),
    image_size: int = 0,
    epochs: int = 0,
    num_images: int = 1000,
    held_out: int = 100,
    seed: int = 0,
) -> Demonstration:
    """The whole workflow in about four minutes on two cores: make images, train, evaluate, export, predict, report.

    A few training steps are timed first, and the image size and the epochs are chosen so that the demo ends in time.
    Nothing is downloaded and nothing is overwritten: if the folder exists, demo-2, demo-3 and so on is used.

    Parameters
    ----------
    output
        Folder to make.
    image_size
        Side of the square network input, in pixels; a multiple of 32. 0 chooses what this machine trains in time.
    epochs
        Training epochs. 0 chooses what this machine trains in time.
    num_images
        Number of training images to make, 1 or more.
    held_out
        Number of test images for the final scores and the report, 1 or more; the validation split has the same number.
    seed
        Random seed.
    """
    for name, count, least in (("epochs", epochs, 0), ("num_images", num_images, 1), ("held_out", held_out, 1)):
        if count < least:
            raise SettingsError.of(name, count, f"expected {least} or more")
    started = time.perf_counter()
    with logging_to():
        folder = fresh_path(output)
        with step(1, f"making {num_images + 2 * held_out:,} images of six kinds of objects on a table"):
            counts, workers = {"train": num_images, "val": held_out, "test": held_out}, num_processes(num_images)
            data = write_synthetic(folder / "data", **counts, seed=seed, options=SCENES, workers=workers)
        with step(2, "training a detector from scratch"):
            plan = make_plan(data, image_size, epochs, LIMIT_SECONDS - (time.perf_counter() - started))
            from lookonce.workflows.train import train

            chosen = {"image_size": plan.image_size, "epochs": plan.epochs, "seed": seed} | SETTINGS
            result = train(data=str(data), runs=folder, name="run", **chosen)
        if result.stopped:
            return Demonstration(folder=folder, exit_code=ExitCode.STOPPED)
        demonstration = use(result.run.path, data, folder)
    return replace(demonstration, seconds=time.perf_counter() - started)


def num_processes(images: int) -> int:
    """One per core, at most 8; one for less than 100 images, where starting more takes longer than it saves."""
    return min(usable_processors(), 8) if images >= 100 else 1


def make_plan(data: Path, image_size: int, epochs: int, seconds: float) -> Plan:
    """The first of PLANS that leaves enough of `seconds`; image_size and epochs replace its values unless 0."""
    plans = [replace(plan, image_size=image_size or plan.image_size, epochs=epochs or plan.epochs) for plan in PLANS]
    if image_size and epochs:
        return plans[0]
    images, rate = measure(data)
    plan = next((plan for plan in plans if plan.seconds(images, rate) <= SHARE_TRAINED * seconds), plans[-1])
    get_logger().info(f"      {rate:.0f} images/s here: {plan.image_size} pixels, {counted(plan.epochs, 'epoch')}")
    return plan


def measure(data: Path) -> tuple[int, float]:
    """Number of training images; training throughput (images/s) at PLANS[0].image_size, from a few steps."""
    from lookonce.devices import resolve_device
    from lookonce.runtimes.pytorch import use_threads
    from lookonce.settings.resolve import resolve
    from lookonce.workflows import build
    from lookonce.workflows.choices import seconds_a_step
    from lookonce.workflows.train import open_splits

    use_threads(usable_threads())
    # A step takes the same time with any anchors; fitting them would take seconds.
    flags = {"data": str(data), "image_size": PLANS[0].image_size, "anchors": "default", **SETTINGS}
    settings = resolve(flags).settings
    device = resolve_device(settings.device)
    train_set = open_splits(settings)[0]
    record = build.make_record(settings, train_set, data_hash="")
    loader = build.make_train_loader(settings, train_set, record.preprocessing, device)
    learner = build.make_learner(settings, record, len(loader), device)
    return len(train_set), loader.batch_size / seconds_a_step(learner, loader)


def use(run: Path, data: Path, folder: Path) -> Demonstration:
    """All steps after the training. The images of split test are used here for the first time."""
    from lookonce.workflows import evaluate, export, predict, report

    exported = folder / "detector.onnx"
    with step(3, "exporting it to ONNX, and comparing the outputs of the file with those of the weights"):
        log_lines(export.as_text(export.export(run, output=exported, images=str(data / "test2017"))))
    with step(4, "evaluating the exported file on the test images"):
        evaluation = evaluate.evaluate(weights=exported, data=data, split="test", output=folder / "eval")
        log_lines(evaluate.as_text(evaluation))
    with step(5, "detecting objects in the test images and drawing them"):
        predicted = predict.predict(str(data / "test2017"), weights=exported, output=folder / "predictions")
        log_lines(predict.as_text(predicted))
        photographs = predict_photographs(folder / "photographs")
    with step(6, "writing the report"):
        page = report.report(
            run,
            output=folder / "report.html",
            evaluation=folder / "eval",
            weights=exported,
            predictions=photographs,
            split="test",
            title="lookonce: the demo",
        )
        log_lines(report.as_text(page))
    write_page(exported, folder / "site")
    return Demonstration(folder=folder, run=run, AP50=evaluation.metrics.AP50, AP=evaluation.metrics.AP)


def predict_photographs(output: Path) -> Path | None:
    """`output`, with the photographs of this package annotated by the published weights with 80 classes; None unless
    these have been pulled: the demo uses no network."""
    from lookonce.workflows import predict

    weights = pulled(DEFAULT)
    if weights is None:
        return None
    with as_file(files("lookonce.workflows") / "photographs") as source:
        log_lines(predict.as_text(predict.predict(str(source), weights=weights, agnostic=True, output=output)))
    return output


def write_page(exported: Path, site: Path) -> None:
    """The page of the detector, if the runtime for browsers is here: the demo downloads nothing."""
    from lookonce.web.runtime import runtime_file
    from lookonce.workflows.page import page

    if runtime_file().exists():
        try:
            page(exported, output=site, title="The demo's detector")
        except LookonceError as error:
            get_logger().warning("%s", error)


@contextmanager
def step(number: int, what: str) -> Iterator[None]:
    """Logs the step at its start and its duration at its end."""
    started = time.perf_counter()
    get_logger().info(f"[{number}/{NUM_STEPS}] {what}")
    yield
    get_logger().info(f"      {counted(round(time.perf_counter() - started), 'second')}")


def as_text(demonstration: Demonstration) -> Iterator[str]:
    """The scores, the files and the next command; nothing if training was stopped, which logs how to resume."""
    folder, run = demonstration.folder, demonstration.run
    if run is None:
        return
    places = {
        folder / "report.html": "everything on one page: open this first",
        folder / "predictions": "test images with their detections",
        folder / "detector.onnx": "the detector as one file that runs without PyTorch",
        run: "weights, settings, log and metrics of the training",
        folder / "eval": "scores and detections",
        folder / "data": "the images and their labels, in COCO format",
    }
    width = max(len(str(path)) for path in places)
    scores = f"AP50 {demonstration.AP50:.3f}, AP {demonstration.AP:.3f}"
    browser = f"{command('page', folder / 'detector.onnx', '--serve')} (downloads 33 MB once)"
    if (folder / "site").exists():
        browser = command("page", "--serve", "--output", folder / "site")
    yield ""
    yield f"Done in {demonstration.seconds / 60:.1f} minutes. On the test images: {scores}."
    yield ""
    yield from (f"  {path!s:<{width}}  {text}" for path, text in places.items())
    yield ""
    yield f"In the browser: {browser}"
    yield "With your own images: lookonce train --data FOLDER"
