from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.data.dataset import Dataset
from lookonce.model.assign import Targets
from lookonce.runtimes.pytorch import to_network_input
from lookonce.settings.schema import Settings
from lookonce.training.validation_loss import LossRuntime, mean_losses
from lookonce.weights.convolutions import model_from_record
from lookonce.workflows import build

CANVASES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
SETTINGS = Settings(data="d", image_size=64, width=0.0625, assign_top=10)


def three_images() -> Dataset:
    """128 x 128 pixels, twice the network input: two objects, none, one object and a crowd."""
    return Dataset(
        split="val",
        image_paths=[Path("1.jpg"), Path("2.jpg"), Path("3.jpg")],
        image_ids=np.array([1, 2, 3]),
        image_sizes_wh=np.full((3, 2), 128, np.int32),
        box_offsets=np.array([0, 2, 2, 4]),
        boxes_xyxy=np.array([[0, 0, 60, 60], [64, 20, 120, 90], [10, 10, 50, 100], [64, 64, 128, 128]], np.float64),
        labels=np.array([0, 1, 1, 0]),
        crowd=np.array([False, False, False, True]),
        areas=np.ones(4),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )


def runtime_of(rows: range, left_out: set[Path]) -> LossRuntime:
    dataset = three_images()
    record = build.make_record(SETTINGS, dataset, "", None)
    torch.manual_seed(0)
    loss = build.make_loss(SETTINGS, record, torch.device("cpu"))
    return LossRuntime(model_from_record(record), record, loss, dataset, rows=rows, left_out=left_out)


@pytest.mark.parametrize("at_once", [1, 2])
def test_it_is_the_loss_that_training_computes_on_the_whole_batch(at_once: int) -> None:
    runtime = runtime_of(range(3), set())
    for start in range(0, 3, at_once):
        batch = CANVASES[start : start + at_once]
        runtime.raw_heads(np.concatenate([batch, batch[-1:]])[:at_once])  # the last batch is padded with a copy
    dataset = three_images()
    targets = Targets.from_flat(
        torch.from_numpy(dataset.boxes_xyxy / 2),
        torch.from_numpy(dataset.labels),
        torch.tensor([0, 0, 2, 2]),
        torch.from_numpy(dataset.crowd),
        batch_size=3,
    )
    pixels = to_network_input(torch.from_numpy(CANVASES), runtime.record.preprocessing)
    with torch.inference_mode():
        expected = runtime._loss(runtime.model(pixels), targets)
    found = mean_losses([runtime.sums.tolist()])
    assert found["val_loss"] == pytest.approx(float(expected.total), rel=1e-4)
    assert found["val_classes"] == pytest.approx(float(expected.classes), rel=1e-4)


def test_images_that_are_left_out_do_not_count_and_ranks_add_up() -> None:
    whole, first, second = (runtime_of(rows, {Path("1.jpg")}) for rows in (range(3), range(0, 3, 2), range(1, 3, 2)))
    for runtime, images in ((whole, CANVASES), (first, CANVASES[::2]), (second, CANVASES[1::2])):
        runtime.raw_heads(images)
    sums = [first.sums.tolist(), second.sums.tolist()]
    assert mean_losses(sums) == pytest.approx(mean_losses([whole.sums.tolist()]), rel=1e-4)
    assert second.sums[0] == 0  # no object


def test_nothing_has_no_loss() -> None:
    assert mean_losses([[0.0] * 4]) == dict.fromkeys(("val_loss", "val_box", "val_objectness", "val_classes"), 0.0)
