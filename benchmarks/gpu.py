"""Training, evaluation and prediction on one accelerator, in under ten minutes: a table, and JSON.

    python benchmarks/gpu.py [--device auto] [--batch 64] [--image-size 640] [--images 2000] [--output build/gpu]

    step          images/s of training steps whose batch lies on the device: network, loss, optimizer and EMA alone
    step + copy   the same with the batch copied from the host each time
    epoch         images/s of a training epoch with the real loader, mosaic and augmentation, the images read from disk
    evaluation    images/s of the validation during training: read, letterbox, network, NMS and the metric
    predict       images/s of `predict` on the validation images, JSON files only

and of each the peak memory so far. `share waiting` is the part of the epoch in which the device had nothing to do. The
images are synthetic JPEG files of about 640x480. OUTPUT/gpu.json holds the numbers after each line; profile.txt and
profile.json are the profile of ten steps. A small --image-size, --batch, --images and --width try it on a CPU.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice, repeat
from pathlib import Path
from unittest import mock

import torch
from learner import make_learner, make_record, make_settings, random_batch

from lookonce.cores import memory_kept, usable_processors
from lookonce.data.dataset import Dataset
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.distributed import device_name, memory_in_use, resolve_device, synchronize
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.record import ModelRecord
from lookonce.settings.schema import Settings
from lookonce.training import engine
from lookonce.training.engine import Learner, StepResult, train_one_epoch
from lookonce.training.profile import profile_training
from lookonce.workflows import build
from lookonce.workflows.predict import PredictRequest, predict_with

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=2000, help="training images; a quarter as many for validation")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("build/gpu"))
    options = parser.parse_args()
    with memory_kept():
        run(options)


def run(options: argparse.Namespace) -> None:
    device = resolve_device(options.device)
    options.output.mkdir(parents=True, exist_ok=True)
    settings = make_settings(
        options.image_size, options.batch, width=options.width, precision=options.precision, log_interval=10**6
    )
    data = write_scenes(options.output / f"scenes-{options.images}", options.images)
    train_set, val_set = (open_data(data).split(name) for name in ("train", "val"))
    record = build.make_record(settings, train_set, "")
    learner = make_learner(settings, make_record(options.image_size, options.width), device)
    own = build.make_learner(settings, record, len(train_set) // options.batch, device)  # of the synthetic classes
    sections: dict[str, Callable[[], Mapping[str, float]]] = {
        "step": lambda: steps_on_device(learner, options),
        "step + copy": lambda: steps(learner, options),
        "epoch": lambda: epoch(own, settings, train_set, record),
        "evaluation": lambda: evaluation(own, settings, val_set, record),
        "predict": lambda: predict(own, record, data / "val2017"),
    }
    done: dict[str, object] = {
        "device": device_name(device),
        "torch": str(torch.__version__),
        "precision": learner.options.precision,
        "batch": options.batch,
        "image_size": options.image_size,
        "processors": usable_processors(),
    }
    print(json.dumps(done), f"{'':12s}{'images/s':>10s}{'ms/batch':>10s}{'MB':>8s}", sep="\n")
    for name, measure in sections.items():
        values = dict(measure()) | {"memory_mb": memory_in_use(device) / 1e6}
        done[name] = values
        rate = values["images_per_second"]
        waiting = f"  share waiting {values['waiting']:.2f}" if "waiting" in values else ""
        numbers = f"{rate:10.1f}{1000 * options.batch / rate:10.2f}{values['memory_mb']:8.0f}"
        print(f"{name:12s}{numbers}{waiting}", flush=True)
        (options.output / "gpu.json").write_text(json.dumps(done, indent=1))
    loader = build.make_train_loader(settings, train_set, record.preprocessing, device)
    print(*profile_training(own, loader, options.output), sep="\n")


def write_scenes(folder: Path, count: int) -> Path:
    if not folder.exists():
        write_synthetic(
            folder,
            train=count,
            val=max(count // 4, 1),
            options=SceneOptions(sides=(480, 640)),
            workers=usable_processors(),
        )
    return folder


def steps(learner: Learner, options: argparse.Namespace) -> dict[str, float]:
    batch = random_batch(options.image_size, options.batch)
    return rate_of(train_one_epoch(learner, repeat(batch, WARM_UP + 1 + options.steps), epoch=0), learner)


def steps_on_device(learner: Learner, options: argparse.Namespace) -> dict[str, float]:
    ready = engine.to_device(random_batch(options.image_size, options.batch), learner.options)
    with mock.patch.object(engine, "to_device", return_value=ready):
        return steps(learner, options)


def rate_of(results: Iterator[StepResult], learner: Learner) -> dict[str, float]:
    """Images/s and the share of the time in which the device waited for images, after WARM_UP steps."""
    for _ in islice(results, WARM_UP):
        pass
    synchronize(learner.options.device)
    started, images, waited = time.perf_counter(), 0, 0.0
    for result in islice(results, 1, None):  # the batch of the first was done before
        images += result.num_images
        waited += result.waited
    synchronize(learner.options.device)
    seconds = time.perf_counter() - started
    return {"images_per_second": images / seconds, "waiting": waited / seconds}


def epoch(learner: Learner, settings: Settings, train_set: Dataset, record: ModelRecord) -> dict[str, float]:
    """The second epoch: the first has filled the caches as far as they go."""
    loader = build.make_train_loader(settings, train_set, record.preprocessing, learner.options.device)
    for number in range(2):
        with closing(loader.epoch(number)) as batches:
            rate = rate_of(train_one_epoch(learner, batches, epoch=number), learner)
    return rate


def evaluation(learner: Learner, settings: Settings, val_set: Dataset, record: ModelRecord) -> dict[str, float]:
    evaluate = build.make_evaluate(settings, val_set)
    assert evaluate is not None
    evaluate(learner.result_model, record, lambda _done: None)
    started = time.perf_counter()
    evaluate(learner.result_model, record, lambda _done: None)
    return {"images_per_second": len(val_set) / (time.perf_counter() - started)}


def predict(learner: Learner, record: ModelRecord, images: Path) -> dict[str, float]:
    """The second of two runs: the first chooses algorithms and fills caches."""
    runtime = PyTorchRuntime(learner.result_model.eval(), record)
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            request = PredictRequest(str(images), weights=images, threshold=0.25, save="json", output=Path(folder))
            done = predict_with(runtime, request)
    return {"images_per_second": done.num_images / done.seconds}


if __name__ == "__main__":
    main()
