"""Verbs return what they made, and print nothing: the command line does, from `as_text`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from untrained import save_untrained

from lookonce.cli.verbs import VERBS
from lookonce.layout import Layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images with a box each and their annotations; a run folder with untrained weights."""
    root = tmp_path_factory.mktemp("verbs")
    noise = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise, start=1):
        cv2.imwrite(str(root / f"{number}.png"), pixels)
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in (1, 2)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1600, "iscrowd": 0}
            for n in (1, 2)
        ],
    }
    (root / "instances_val.json").write_text(json.dumps(annotations))
    save_untrained(root / "run" / "checkpoints" / "best", ("a", "b"), (1, 2))
    return root


def exported(folder: Path) -> Path:
    """The file that `export` below has written; where it has not run, it is written now."""
    path = folder / "net.onnx"
    if not path.exists():
        VERBS["export"].load()(folder / "run", output=path)
    return path


# Verb -> its arguments, from a folder as above and one to write into. bench, which starts processes: test_bench.py.
CALLS: dict[str, Callable[[Path, Path], tuple[list[Any], dict[str, Any]]]] = {
    "export": lambda at, to: ([at / "run"], {"output": at / "net.onnx", "file_name": "a", "overwrite": True}),
    "eval": lambda at, to: (
        [],
        {"weights": at / "run", "data": at / "instances_val.json", "images": at, "output": to, "resamples": 10},
    ),
    "predict": lambda at, to: ([str(at / "*.png")], {"weights": exported(at), "output": to}),
    "verify": lambda at, to: (
        [[at / "run", exported(at)]],
        {"data": at / "instances_val.json", "images": at, "output": to / "verify.json", "store": False},
    ),
    "push": lambda at, to: ([at / "run", f"{to}/pushed"], {}),
    "pull": lambda at, to: ([str(at / "run" / "checkpoints" / "best"), to / "pulled"], {}),
    "check": lambda at, to: ([at / "instances_val.json"], {"images": at}),
    "explain-assignment": lambda at, to: (
        [str(at / "instances_val.json")],
        {"images": at, "output": to / "a.png", "weights": str(at / "run")},
    ),
    "anchors": lambda at, to: ([str(at / "instances_val.json")], {"images": at, "restarts": 1}),
    "convert-data": lambda at, to: ([str(at / "instances_val.json"), to / "voc"], {"images": at, "to": "voc"}),
    "diagnose": lambda at, to: (
        [at / "run"],
        {"data": at / "instances_val.json", "images": at, "output": to},
    ),
    "config": lambda at, to: ([], {"epochs": 3}),
    "info": lambda at, to: ([at / "run"], {"budget": True, "output": to}),
    "doctor": lambda at, to: ([], {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_verb_called_from_python_prints_nothing(
    name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    args, options = CALLS[name](folder, tmp_path)
    result = VERBS[name].load()(*args, **options)
    assert capfd.readouterr().out == ""
    assert list(VERBS[name].lines(result, Layout()))
