"""`train` by several ranks: the same pictures, one score, and a run that goes on after a stop with the same bits."""

import hashlib
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raised import raises

from lookonce.data.loader import Loader
from lookonce.data.selection import take_images
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.distributed import rank
from lookonce.errors import DataError, LookonceError, SettingsError
from lookonce.settings.record import ModelRecord
from lookonce.training.finite import TrainingDiverged
from lookonce.training.trainer import TrainResult
from lookonce.weights.checkpoint import read_training_values
from lookonce.weights.load import load_weights
from lookonce.workflows import build
from lookonce.workflows.train import train

InRanks = Callable[..., list[Any]]
SETTINGS = {"epochs": 2, "batch_size": 2, "image_size": 64, "width": 0.0625, "log_interval": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures to learn from, 21 to be scored on."""
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=11, val=21, options=options)


def quick(data: Path, runs: Path, /, **flags: Any) -> tuple[Path, bool]:
    result: TrainResult = train(**{"data": str(data), "runs": str(runs), **SETTINGS, **flags})
    return result.run.path, result.stopped


def arrays_of(run: Path) -> list[str]:
    names = ("model.safetensors", "training.safetensors")
    return [hashlib.sha256((run / "checkpoints" / "last" / name).read_bytes()).hexdigest() for name in names]


def stopped_by_a_signal(of_rank: int, epoch: int, batch: int, *arguments: Any, **flags: Any) -> tuple[Path, bool]:
    """`quick`, where one rank gets a SIGTERM before it makes a batch."""
    original = Loader._begin

    def begin(self: Loader, positions: range, size_hw: tuple[int, int], order: Any, *more: Any) -> Any:
        if (rank(), order.epoch, positions.start // self.batch_size) == (of_rank, epoch, batch):
            signal.raise_signal(signal.SIGTERM)
        return original(self, positions, size_hw, order, *more)

    Loader._begin = begin  # type: ignore[method-assign]
    return quick(*arguments, **flags)


def score(data: Path, leave_out: Sequence[int] = ()) -> dict[str, float]:
    """What the validation of a training says of fresh weights, without some of the images."""
    settings = build.Settings(data=str(data), width=0.0625, image_size=64, objectness_prior=0.01, assign_top=10)
    source = open_data(data)
    record = build.make_record(settings, source.split("train"), "")
    val = source.split("val")
    rows = np.setdiff1d(np.arange(len(val)), np.array(leave_out, np.int64))
    evaluate = build.make_evaluate(settings, take_images(val, rows))
    assert evaluate is not None
    return dict(evaluate(build.make_model(settings, record).eval(), record, lambda _done: None))


def test_twenty_one_images_score_the_same_on_one_two_and_three_ranks(data: Path, in_ranks: InRanks) -> None:
    alone = score(data)
    assert alone["AR100"] > 0
    for num_ranks in (2, 3):
        assert in_ranks(num_ranks, score, data, fresh=True) == [alone] * num_ranks


def test_validation_images_that_broke_are_left_out_of_the_score_on_any_number_of_ranks(
    data: Path, tmp_path: Path, in_ranks: InRanks, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = shutil.copytree(data, tmp_path / "damaged")
    val = open_data(damaged).split("val")
    broken = [4, 9]  # of rank 0, and of rank 1
    for row in broken:
        path = val.image_paths[row]
        path.write_bytes(path.read_bytes()[:-60])
    expected = score(data, leave_out=broken)
    assert expected != score(data)
    assert score(damaged) == expected
    assert re.search(rf"{val.image_paths[4].name}.*\(2 ", caplog.text)
    assert in_ranks(2, score, damaged, fresh=True) == [expected] * 2


def test_a_validation_split_without_a_whole_image_is_an_error(data: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(data, tmp_path / "damaged")
    for path in open_data(damaged).split("val").image_paths:
        path.write_bytes(path.read_bytes()[:-60])
    with raises(DataError, setting="split"):
        score(damaged)


def test_ranks_stopped_by_a_signal_to_one_go_on_with_the_bits_of_a_straight_run(
    data: Path, tmp_path: Path, in_ranks: InRanks
) -> None:
    (straight, _), (other, _) = in_ranks(2, quick, data, tmp_path / "straight", fresh=True)
    assert straight == other
    assert sorted(path.name for path in straight.parent.iterdir()) == ["table-1"]
    night = tmp_path / "runs" / "night"
    ends = in_ranks(2, stopped_night, 1, data, tmp_path / "runs", fresh=True)
    assert ends == [(night, True)] * 2
    shutil.copytree(night, tmp_path / "others" / "night")
    assert in_ranks(2, night_without_workers, data, tmp_path / "runs", fresh=True) == [(night, False)] * 2
    assert arrays_of(night) == arrays_of(straight)
    log = (night / "log.txt").read_text()
    assert len(re.findall(r"3 batches of 4.* 2 processes", log)) == 2
    assert log.count("finished; best weights") == 1
    keeps_its_batches_on_three_ranks(data, tmp_path / "others", in_ranks)


def keeps_its_batches_on_three_ranks(data: Path, runs: Path, in_ranks: InRanks) -> None:
    assert read_training_values(runs / "night/checkpoints/last")["global_batch"] == 4
    (run, stopped), *_ = in_ranks(3, night_without_workers, data, runs, fresh=True)
    assert not stopped
    log = (run / "log.txt").read_text()
    assert re.search(r"ranks is 3, .* 2\b", log)
    assert re.search(r"2 epochs x 3 batches of 4.* 3 processes.* epoch 2, batch", log)


def stopped_night(of_rank: int, data: Path, runs: Path) -> tuple[Path, bool]:
    return stopped_by_a_signal(of_rank, 1, 1, data, runs, run="night")


def night_without_workers(data: Path, runs: Path) -> tuple[Path, bool]:
    return quick(data, runs, run="night", workers=0)


def quick_of_own(data: list[Path], runs: Path) -> tuple[Path, bool]:
    return quick(data[rank()], runs)


def test_ranks_with_other_data_are_told(data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    other = write_synthetic(tmp_path / "table", train=4, val=2, options=options)
    with raises(DataError, "rank 1"):
        in_ranks(2, quick_of_own, [data, other], tmp_path / "runs", fresh=True)
    assert not (tmp_path / "runs").exists()


def quick_synced(data: Path, runs: Path) -> tuple[Path, bool]:
    trained = quick(data, runs, sync_bn=True, batch_size=0, epochs=1, optimizer="sgd")
    assert "torch._dynamo" not in sys.modules  # takes as long to import as PyTorch
    return trained


def test_synchronised_batchnorm_trains_as_one_process_would(data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    """Two ranks with two pictures each, which batch size auto gives them, and one with four; the checkpoint has the
    names of the network. By SGD: AdamW's first steps go by the signs of the gradients, which rounding turns where they
    are nearly 0."""
    together, _ = in_ranks(2, quick_synced, data, tmp_path, fresh=True)[0]
    assert re.search(r"batches of 4.* 2\b", (together / "log.txt").read_text())
    alone, _ = quick(data, tmp_path, epochs=1, batch_size=4, optimizer="sgd")
    states = [load_weights(run / "checkpoints/last")[0].state_dict() for run in (together, alone)]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-4, msg=name)


def one_cannot_read(data: Path, runs: Path) -> str:
    def fail(self: Loader, row: int) -> Any:
        raise DataError("cannot be decoded")

    if rank() == 1:
        Loader._read = fail  # type: ignore[method-assign]
    with pytest.raises(LookonceError) as caught:
        quick(data, runs)
    return str(caught.value)


def test_who_waits_for_a_rank_with_an_error_says_so(data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    first, second = in_ranks(2, one_cannot_read, data, tmp_path, fresh=True)
    assert second == "cannot be decoded"
    assert first.startswith("rank 0: ")


def test_torchrun_and_devices_that_contradict_each_other_are_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with raises(SettingsError, "2 processes", setting="devices", value=3):
        train(data=str(data), devices=3)


def diverge(data: Path, runs: Path) -> str:
    """Rank 1 is shown no numbers."""

    def poisoned(settings: Any, record: ModelRecord) -> Any:
        model = make_model(settings, record)
        model.register_forward_pre_hook(lambda _model, given: (given[0] * (torch.nan if rank() else 1),))
        return model

    make_model = build.make_model
    build.make_model = poisoned
    with pytest.raises(TrainingDiverged) as caught:
        quick(data, runs)
    return str(caught.value)


def test_a_batch_that_spoils_the_loss_is_kept_to_be_looked_at(data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    first, _ = in_ranks(2, diverge, data, tmp_path, fresh=True)
    folder = tmp_path / "table-1" / "nonfinite-epoch0-batch0" / "rank1"
    assert first.endswith(str(folder))
    kept = np.load(folder / "batch.npz")
    assert kept["images"].shape == (2, 64, 64, 3)
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == [f"{row:03d}-image{image_id}.png" for row, image_id in enumerate(kept["image_ids"])]
    assert (folder / names[0]).stat().st_size > 0
