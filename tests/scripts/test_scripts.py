"""What the document's scripts say before they start anything; what they do: tests/integration/test_document.py."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NOT_TAKEN = {"run_eval.sh": "DEVICE", "run_eval_gpu.sh": "DEVICE", "run_infer_310.sh": "OPTIONS"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("run_standalone_train.sh", "train"),
        ("run_standalone_train_gpu.sh", "train"),
        ("run_distribute_train.sh", "train_parallel0"),
        ("run_distribute_train_gpu.sh", "train_parallel7"),
        ("run_eval.sh", "eval"),
        ("run_eval_gpu.sh", "eval"),
        ("run_infer_310.sh", "acc.log"),
    ],
)
def test_a_script_says_what_it_takes_and_overwrites_nothing(name: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        command = ["sh", str(SCRIPTS / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    status, usage = run()
    assert status == 2
    assert re.match(r"run_\w+\.sh [A-Z]+", usage)
    described = {"Example:", *(word for word in ("DEVICE", "OPTIONS") if word not in NOT_TAKEN.get(name, ""))}
    assert described <= set(re.findall(r"[A-Za-z]+:?", usage))
    assert "set -eu" not in usage
    inputs = {"run_distribute_train.sh": (tmp_path, __file__), "run_distribute_train_gpu.sh": (tmp_path, "1", "0")}
    status, told = run(*map(str, inputs.get(name, (tmp_path, tmp_path, tmp_path))))
    assert status == 1
    assert folder in told
    assert "earlier run" in told
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert not list((tmp_path / folder).iterdir())


MISSING = [
    ("run_standalone_train.sh", ["none"], "DATA: none"),
    ("run_standalone_train_gpu.sh", ["none"], "DATA: none"),
    ("run_distribute_train.sh", ["none", "table.json"], "DATA: none"),
    ("run_distribute_train.sh", [".", "table.json"], "RANK_TABLE: table.json"),
    ("run_distribute_train.sh", ["s3://bucket/coco", "."], "RANK_TABLE: ."),
    ("run_distribute_train_gpu.sh", ["none", "2", "1"], "DATA: none"),
    ("run_distribute_train_gpu.sh", [".", "0", "1"], "N: 0"),
    ("run_distribute_train_gpu.sh", [".", "8", "cpus"], "CPUS_PER_RANK: cpus"),
    ("run_eval.sh", ["none", "."], "DATA: none"),
    ("run_eval.sh", [".", "none"], "CHECKPOINT: none"),
    ("run_eval_gpu.sh", [".", "none"], "CHECKPOINT: none"),
    ("run_infer_cpp.sh", ["none.onnx", ".", "."], "none.onnx: "),
    ("run_infer_310.sh", ["none.onnx", ".", "."], "none.onnx: "),
]


@pytest.fixture
def startable(tmp_path: Path) -> Path:
    """The scripts of a checkout in which `lookonce` writes `started` and does nothing else."""
    root = tmp_path / "startable"
    shutil.copytree(SCRIPTS, root / "scripts")
    python = f'[ "$1" != python ] || {{ shift; exec "{sys.executable}" "$@"; }}'
    (root / "run").write_text(f"#!/bin/sh\n{python}\necho started\n")
    (root / "run").chmod(0o755)
    return root / "scripts"


def in_empty_folder(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = script.parents[1] / "empty"
    folder.mkdir()
    command = ["sh", str(script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_every_script_has_a_case_of_a_missing_input() -> None:
    assert {name for name, _, _ in MISSING} == {path.name for path in SCRIPTS.glob("*.sh")}


@pytest.mark.parametrize(("name", "arguments", "told"), MISSING)
def test_a_missing_input_starts_nothing_and_leaves_nothing(
    startable: Path, name: str, arguments: list[str], told: str
) -> None:
    done = in_empty_folder(startable / name, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
    assert not list((startable.parent / "empty").iterdir())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run_standalone_train.sh", ["obs://bucket/coco"]),
        ("run_distribute_train.sh", ["s3://bucket/coco", __file__]),
        ("run_distribute_train_gpu.sh", [".", "2", "0"]),
        ("run_eval.sh", [".", "coco"]),
        ("run_eval.sh", ["s3://bucket/coco", "s3://bucket/run"]),
    ],
)
def test_addresses_and_published_names_are_inputs(startable: Path, name: str, arguments: list[str]) -> None:
    done = in_empty_folder(startable / name, *arguments)
    assert done.returncode == 0, done.stderr
    assert re.match(r"started as process \d+; log", done.stdout)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which the C++ program is there already, and finds one box of category 7."""
    root = tmp_path / "checkout"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "run_infer_cpp.sh").write_text((SCRIPTS / "run_infer_cpp.sh").read_text())
    programs = {
        "run": f'[ "$1" = cpp ] || exec "{sys.executable}" -m "$@"',
        "cpp/build/release/lookonce-infer": (
            """echo '[{"image_id": 1, "category_id": 7, "bbox": [1, 1, 20, 20], "score": 0.5}]' >results.json"""
        ),
    }
    for name, text in programs.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / name).chmod(0o755)
    for name in ("x.onnx", "x.mindir", "x.ckpt"):
        (tmp_path / name).touch()
    return root


def infer(checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    folder = checkout.parent / "here"
    folder.mkdir(exist_ok=True)
    command = ["sh", str(checkout / "scripts" / "run_infer_cpp.sh"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("model", "device", "told"),
    [
        ("x.mindir", "CPU", r"x\.mindir: .*--file_format ONNX"),
        ("x.ckpt", "CPU", r"x\.ckpt: .*lookonce export .*x\.ckpt"),
        ("x.onnx", "0", r": 0; .*Ascend.*CPU"),
        ("none.onnx", "CPU", r"none\.onnx: "),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is_built(
    checkout: Path, model: str, device: str, told: str
) -> None:
    if device == "0" and list(Path("/dev").glob("davinci[0-9]*")):
        pytest.skip("an Ascend device is here")
    (checkout / "run").write_text("#!/bin/sh\ntouch built\n")
    annotations = checkout.parent / "instances_val2017.json"
    annotations.touch()
    done = infer(checkout, checkout.parent / model, checkout.parent, annotations, device)
    assert done.returncode == 2
    assert re.search(told, done.stderr, re.DOTALL)
    assert not list((checkout.parent / "here").iterdir())


@pytest.mark.parametrize(("category", "whole"), [(7, True), (8, False)])
def test_the_accuracy_appears_whole_or_not_at_all(checkout: Path, category: int, whole: bool) -> None:
    annotations = checkout.parent / "instances_val2017.json"
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 40, "height": 40}],
        "categories": [{"id": category, "name": "button"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": category, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}
        ],
    }
    annotations.write_text(json.dumps(content))
    done = infer(checkout, checkout.parent / "x.onnx", checkout.parent, annotations)
    here = checkout.parent / "here"
    assert (done.returncode == 0) == whole
    assert [path.name for path in sorted(here.iterdir()) if "acc" in path.name] == (["acc", "acc.log"] if whole else [])
    if whole:
        lines = (here / "acc.log").read_text().splitlines()
        assert sum(" @[ IoU=" in line for line in lines) == 12
