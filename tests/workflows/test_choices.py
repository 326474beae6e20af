"""Numbers that a run chooses when the settings leave it the choice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from one_box_each import dataset, settings

from lookonce.workflows import choices

CPU = torch.device("cpu")


@pytest.mark.parametrize(("num_images", "batch_size"), [(1, 4), (205, 4), (400, 8), (800, 16), (1600, 32), (10**6, 32)])
def test_few_images_get_small_batches(num_images: int, batch_size: int) -> None:
    chosen = choices.choose_batch_size(settings(batch_size=0), num_images, CPU)
    assert (chosen.batch_size, chosen.lr) == (batch_size, settings().lr)


def test_a_given_batch_size_and_its_learning_rate_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "world_size", lambda: 8)
    chosen = choices.choose_batch_size(settings(batch_size=7), 10**6, torch.device("cuda"))
    assert (chosen.batch_size, chosen.lr) == (7, settings().lr)


@pytest.mark.parametrize(
    ("kind", "ranks", "num_images", "optimizer", "batch_size", "lr_factor"),
    [
        ("cpu", 8, 10**6, "adamw", 4, 1.0),
        ("cuda", 1, 10**6, "adamw", 32, 1.0),
        ("cuda", 8, 10**6, "adamw", 16, 2.0),  # 128 images a step: 4 times as many
        ("cuda", 8, 10**6, "sgd", 16, 4.0),
        ("cuda", 8, 3200, "adamw", 8, 2**0.5),  # 50 steps of 64
        ("cuda", 8, 800, "adamw", 2, 1.0),  # 50 steps of 16
        ("cuda", 6, 10**6, "sgd", 16, 3.0),
    ],
)
def test_many_accelerators_get_enough_images_and_their_learning_rate(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ranks: int,
    num_images: int,
    optimizer: str,
    batch_size: int,
    lr_factor: float,
) -> None:
    monkeypatch.setattr(choices, "world_size", lambda: ranks)
    given = settings(batch_size=0, optimizer=optimizer)
    chosen = choices.choose_batch_size(given, num_images, torch.device(kind))
    assert chosen.batch_size == batch_size
    assert chosen.lr == pytest.approx(given.lr * lr_factor)


@pytest.mark.parametrize(
    ("num_images", "weights", "epochs"),
    [(205, None, 96), (205, "w", 29), (5, None, 300), (20, "w", 300), (118_287, None, 10), (118_287, "w", 10)],
)
def test_epochs_0_aims_at_a_number_of_steps(num_images: int, weights: str | None, epochs: int) -> None:
    """205 images in batches of 4: 52 steps an epoch, 5,000 / 52 = 96 and 1,500 / 52 = 29; 10 to 300 epochs."""
    given = settings(epochs=0, batch_size=4 if num_images < 300 else 32, weights=weights)
    assert choices.choose_epochs(given, num_images).epochs == epochs
    assert choices.choose_epochs(given.model_copy(update={"epochs": 7}), num_images).epochs == 7


def test_positives_per_object_are_fewer_where_images_are_crowded() -> None:
    """At 64 pixels 3 * (2 * 2 + 4 * 4) = 60 predictions, of which at most a tenth are positive: 6 for one box an image,
    and never fewer than 3 or more than 10 for each box."""
    auto = settings(assign_top="auto")

    def top(boxes: int, images: int, **changes: Any) -> Any:
        data = replace(dataset([(10, 10)] * boxes), image_paths=[Path(f"{image}") for image in range(images)])
        return choices.choose_positives(auto.model_copy(update=changes), data).assign_top

    assert [top(1, 1), top(3, 2), top(5, 1), top(1, 9), top(0, 3)] == [6, 4, 3, 10, 10]
    assert top(1, 1, image_size=32) == 3  # 15 predictions
    assert top(5, 1, assign_top=7) == 7


def test_the_objectness_prior_is_the_share_of_positive_predictions() -> None:
    """At 64 pixels 3 * (2 * 2 + 4 * 4) = 60 predictions; one box an image, ten positive, or one."""
    data = replace(dataset([(10, 10)] * 3), image_paths=[Path("a"), Path("b"), Path("c")])
    auto = settings(objectness_prior="auto")
    assert choices.choose_positives(auto, data).objectness_prior == 0.1667
    one = auto.model_copy(update={"assignment": "best_anchors"})
    assert choices.choose_positives(one, data).objectness_prior == 0.0167
    six = auto.model_copy(update={"assign_top": "auto"})
    assert choices.choose_positives(six, data).objectness_prior == 0.1
    crowded = auto.model_copy(update={"assign_top": 100})
    assert choices.choose_positives(crowded, data).objectness_prior == 0.5
    fixed = settings(objectness_prior=0.01)
    assert choices.choose_positives(fixed, data) == fixed


def test_the_ema_averages_over_a_thirtieth_of_the_run() -> None:
    """12 epochs of 50 steps: 20 steps, decay 0.95; 12 epochs of 13 when four batches make a step: 5.2 steps."""
    auto = settings(epochs=12, ema_decay="auto")
    assert choices.choose_ema_decay(auto, 50, 4).ema_decay == 0.95
    assert choices.choose_ema_decay(auto.model_copy(update={"accumulate": 4}), 50, 4).ema_decay == 0.8077
    assert choices.choose_ema_decay(auto, 10**6, 4).ema_decay == 0.998
    assert choices.choose_ema_decay(auto.model_copy(update={"epochs": 1}), 1, 4).ema_decay == 0
    fixed = settings(ema_decay=0.998)
    assert choices.choose_ema_decay(fixed, 50, 4) == fixed
