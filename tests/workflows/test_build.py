from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from one_box_each import dataset, settings

from lookonce.data.anchors import box_sizes_at_input
from lookonce.settings.record import DEFAULT_ANCHORS, ModelRecord
from lookonce.settings.schema import Settings
from lookonce.training.engine import set_training_mode
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows import build

CPU = torch.device("cpu")


def record(given: Settings) -> ModelRecord:
    return build.make_record(given, dataset([(10, 10)] * 3), "hash")


def test_sizes_are_measured_on_the_canvas() -> None:
    """200x100 on 64: letterboxed by 0.32 both ways, stretched by 0.32 and 0.64."""
    data = dataset([(100, 50)])
    assert box_sizes_at_input(data, (64, 64), "letterbox").tolist() == [[32, 16]]
    assert box_sizes_at_input(data, (64, 64), "stretch").tolist() == [[32, 32]]


def test_anchors_fitted_to_six_sizes_are_those_sizes() -> None:
    sizes = [(10.0 * k, 5.0 * k) for k in range(1, 7)]
    data = dataset(sizes * 4, image_wh=(64, 64))
    anchors = build.choose_anchors(settings(anchors="auto"), data)
    np.testing.assert_allclose(anchors, sizes)


def test_default_anchors_and_masks_are_the_papers() -> None:
    made = record(settings(anchors="default"))
    assert made.anchors == DEFAULT_ANCHORS
    assert made.masks == ((3, 4, 5), (0, 1, 2))


def test_fresh_weights_come_from_the_seed_and_touch_no_global_generator() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build.make_model(settings(seed=seed), record(settings())) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.head32.weight, again.head32.weight)
    assert not torch.equal(first.head32.weight, other.head32.weight)


def test_mosaic_and_mixup_end_before_the_run_does() -> None:
    augmentation = build.make_augmentation(settings(epochs=10, close_mosaic=3, mosaic=0.5, mixup=0.1))
    assert [augmentation(epoch).mosaic for epoch in (0, 6, 7, 9)] == [0.5, 0.5, 0, 0]
    assert (augmentation(6).mixup, augmentation(7).mixup) == (0.1, 0)
    assert augmentation(9).flip == settings().flip


def test_the_record_names_its_versions_also_where_lookonce_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "lookonce":
            raise PackageNotFoundError(package)
        return "1"

    installed = metadata.version("lookonce")
    monkeypatch.setattr(metadata, "version", version)
    assert record(settings()).versions == {"lookonce": installed, "torch": "1", "numpy": "1"}


def test_imagenet_normalisation_is_written_into_the_record() -> None:
    assert record(settings(normalize="imagenet")).preprocessing.mean == (0.485, 0.456, 0.406)
    assert record(settings()).preprocessing.std == (1, 1, 1)


def test_masks_epsilon_and_pool_are_written_into_the_record() -> None:
    made = record(settings(masks=((3, 4, 5), (1, 2, 3)), batchnorm_eps=0.5, pool_edge="zero", dialect="darknet"))
    assert made.masks == ((3, 4, 5), (1, 2, 3))
    assert (made.dialect.batchnorm_eps, made.dialect.pool_edge) == (0.5, "zero")
    assert record(settings(dialect="darknet")).dialect.batchnorm_eps == 1e-6


def test_the_dialect_of_the_record_has_the_activation_that_was_asked_for() -> None:
    assert record(settings(dialect="ultralytics", activation="leaky")).dialect.activation == "leaky"
    assert record(settings(dialect="ultralytics", activation="auto")).dialect.activation == "silu"


def test_settings_reach_the_parts_they_are_for() -> None:
    given = settings(
        batch_size=2,
        lr=0.5,
        lr_floor=0.125,
        epochs=7,
        warmup_epochs=2,
        weight_decay=0.25,
        stride32_weight=3,
        loss_per="picture",
    )
    learner = build.make_learner(given, record(given), 11, CPU)
    schedule = learner.schedule
    assert (schedule.lr, schedule.floor, schedule.total_steps, schedule.warmup_steps) == (0.5, 0.125, 77, 22)
    assert [group["weight_decay"] for group in learner.optimizer.param_groups] == [0.25, 0]
    assert learner.loss.head_weights == (3, 1)
    assert not learner.loss.per_object
    assert learner.loss.ignore_own_head_only is given.ignore_own_head_only is False
    assert learner.options.precision == "fp32"


@pytest.mark.parametrize(("nominal", "batches"), [(64, 4), (16, 1), (8, 1), (40, 2), (0, 1)])
def test_batches_are_collected_to_come_near_a_nominal_one(nominal: int, batches: int) -> None:
    given = settings(batch_size=16, nominal_batch=nominal)
    assert build.make_learner(given, record(given), 11, CPU).options.accumulate == batches


def test_a_run_that_goes_on_with_fewer_ranks_collects_as_many_batches_as_before() -> None:
    """Begun with four ranks of 4 pictures; one rank now has all 16."""
    given = settings(batch_size=4, nominal_batch=64)
    assert build.make_learner(given, record(given), 11, CPU, global_batch=16).options.accumulate == 4


def test_frozen_stages_are_neither_trained_nor_do_their_statistics_move(tmp_path: Path) -> None:
    given = settings(batch_size=2)
    start = build.make_model(given, record(given))
    save_checkpoint(tmp_path / "start", state=start.state_dict(), record=record(given))
    frozen = given.model_copy(update={"freeze_stages": 3, "weights": tmp_path / "start"})
    learner = build.make_learner(frozen, record(given), 1, CPU)
    trained = {name for name, parameter in learner.model.named_parameters() if parameter.requires_grad}
    assert "backbone.conv3.conv.weight" in trained
    assert not any(name.startswith(("backbone.conv0.", "backbone.conv2.")) for name in trained)
    set_training_mode(learner.model, freeze_batchnorm=False)
    assert [stage.norm.training for stage in learner.model.backbone.stages] == [False] * 3 + [True] * 4
    assert sum(len(group["params"]) for group in learner.optimizer.param_groups) == len(trained)


def test_no_decay_means_no_average() -> None:
    given = settings(ema_decay=0)
    assert build.make_learner(given, record(given), 1, CPU).ema is None


def test_advice_against_waiting_names_what_there_is() -> None:
    """Three pictures of 200x100: 0.18 MB decoded."""
    data = dataset([(10, 10)] * 3)
    assert "--cache-mb up to 1 (now 0)" in build.against_waiting(settings(cache_mb=0, workers=0), data, CPU)
    assert build.against_waiting(settings(workers=256), data, CPU).startswith("smaller image files")


def test_workers_follow_the_device() -> None:
    assert build.num_workers("auto", CPU) == 1
    assert 2 <= build.num_workers("auto", torch.device("cuda")) <= 16
    assert build.num_workers(0, CPU) == 0
