"""A run of a tiny network on a few small images, made once for a file of tests; each test works on a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty import SETTINGS

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.training.trainer import TrainResult
from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.train import train


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder of 5 training and 2 validation images."""
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=5, val=2, options=options)


Train = Callable[..., TrainResult]


@pytest.fixture(scope="session")
def quick(data: Path) -> Train:
    """quick(runs, **settings) -> three epochs of three batches, in this process."""

    def begin(runs: Path, **settings: Any) -> TrainResult:
        torch.set_num_threads(1)
        return train(**{"data": str(data), "runs": str(runs), "name": "run", **SETTINGS, **settings})

    return begin


@pytest.fixture(scope="session")
def finished(quick: Train, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run, with its evaluation; not to be changed."""
    run = quick(tmp_path_factory.mktemp("undisturbed")).run.path
    evaluate(weights=run, data=str(data), output=run / "evaluation")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run."""
    return shutil.copytree(finished, tmp_path / "runs" / "run-1")
