"""The benchmarks of limits, training steps and accelerators run, on a CPU with tiny sizes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]
TINY = ("--image-size", "64", "--batch", "2", "--width", "0.0625")


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [script.__name__, *arguments])
    script.main()


def test_the_limits_are_measured(script: Script) -> None:
    values = script("limits").measure(1, side=32, copied=2**12, images=1)
    assert len(values) == 5
    assert all(value > 0 for value in values.values())


def test_a_step_is_compared_with_plain_pytorch(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = script("train_step")
    for name, value in {"WARM_UP": 1, "STEPS": 1}.items():
        monkeypatch.setattr(plain, name, value)
    run(plain, monkeypatch, *TINY, "--threads", "1", "--rounds", "1", "--json", str(tmp_path / "json"))
    result = json.loads((tmp_path / "json").read_text())
    assert result["ours / eager"] > 0
    assert result["ours, of sgemm"] > 0


def test_medians_are_of_ratios_within_a_round(script: Script) -> None:
    train_step = script("train_step")
    seconds = ({"sgemm": 0.01, "ours": 0.25, "eager": 0.5}, {"sgemm": 0.02, "ours": 1.0, "eager": 1.0})
    rounds = [{name: train_step.Seconds(value, 2 * value) for name, value in one.items()} for one in seconds]
    result = train_step.summary(rounds, images=2, gflop=10.0, sgemm_gflop=1.0)
    assert result["ours, images/s"] == (8 + 2) / 2
    assert result["ours / eager"] == result["ours / eager, processor time"] == 1.5
    assert result["ours, of sgemm"] == pytest.approx((0.4 + 0.2) / 2)


def test_a_step_of_eight_images_at_416_counts_three_passes(script: Script) -> None:
    learner = script("learner")
    record = learner.make_record(416)
    forward = 5.57 * 8
    first = 2 * 8 * 416 * 416 * 16 * 27 / 1e9
    assert learner.gflop_a_step(record, 8) == pytest.approx(3 * forward - first, rel=2e-3)


def test_the_plain_network_computes_the_same(script: Script) -> None:
    """Up to rounding: pool before or after the activation, and another layout."""
    import torch

    shared, plain = script("learner"), script("train_step")
    learner = shared.make_learner(shared.make_settings(64, 2, width=0.0625), shared.make_record(64, 0.0625), plain.CPU)
    eager = plain.Eager(learner, shared.random_batch(64, 2))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(learner.model.train()(images), eager.model.train()(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_every_section_runs_and_is_written(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(script("gpu"), "WARM_UP", 1)
    monkeypatch.setattr("lookonce.training.profile.PROFILED_STEPS", 1)
    monkeypatch.setattr("lookonce.training.profile.SKIPPED_STEPS", 1)
    run(
        script("gpu"),
        monkeypatch,
        *TINY,
        *("--device", "cpu", "--images", "6", "--steps", "2", "--output", str(tmp_path)),
    )
    values = json.loads((tmp_path / "gpu.json").read_text())
    for section in ("step", "step + copy", "epoch", "evaluation", "predict"):
        assert values[section]["images_per_second"] > 0
    assert (tmp_path / "profile.json").exists()


def test_modules_that_tests_import_by_name_have_names_of_their_own() -> None:
    """One process imports several of these folders, so an equal name would answer for another folder's module."""
    folders = ("benchmarks", "benchmarks/peers", "examples/clients", "tests/support")
    names = [path.stem for folder in folders for path in (Path(__file__).parents[2] / folder).glob("*.py")]
    assert sorted(names) == sorted(set(names))
