"""Folders and images whose names are not UTF-8, through the verbs: results whole, with the bytes of each name."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from faulty import SETTINGS

from lookonce.cli.main import main
from lookonce.data.source import open_data

LATIN1 = os.fsdecode(b"caf\xe9")
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in (SETTINGS | {"epochs": 1}).items()]


@pytest.fixture
def images(data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / LATIN1
    folder.mkdir()
    for number, path in enumerate(sorted((data / "val2017").iterdir())):
        shutil.copy(path, folder / f"{LATIN1}{number}.jpg")
    return folder


@pytest.fixture
def renamed(data: Path, tmp_path: Path) -> Path:
    """The data set as COCO, its images and its folder with such names."""
    folder = shutil.copytree(data, tmp_path / f"{LATIN1}-data")
    for file in (folder / "annotations").iterdir():
        content = json.loads(file.read_text())
        split = folder / file.stem.removeprefix("instances_")
        for image in content["images"]:
            old, image["file_name"] = split / image["file_name"], f"{LATIN1}{image['file_name']}"
            old.rename(split / image["file_name"])
        file.write_text(json.dumps(content))
    return folder


def test_results_of_predict_give_the_bytes_back(images: Path, run: Path, tmp_path: Path) -> None:
    output = tmp_path / f"{LATIN1}-out"
    saves = "images,crops,json,jsonl,csv,yolo"
    assert (
        main(["predict", str(images), f"--weights={run}", f"--output={output}", f"--save={saves}", "--threshold=0.01"])
        == 0
    )
    names = {str(path) for path in images.iterdir()}
    assert {image["file"] for image in json.loads((output / "detections.json").read_text())["images"]} == names
    lines = map(json.loads, (output / "detections.jsonl").read_text().splitlines())
    assert {line["file"] for line in lines if "file" in line} >= names
    rows = list(csv.DictReader((output / "detections.csv").read_text().splitlines()))
    assert {row["file"] for row in rows} <= {name.encode("utf-8", "backslashreplace").decode() for name in names}
    assert {path.name for path in output.glob("*.jpg")} == {path.name for path in images.iterdir()}


@pytest.mark.parametrize("to", ["yolo", *(pytest.param(to, marks=pytest.mark.slow) for to in ("coco", "voc"))])
def test_a_data_set_is_converted(to: str, renamed: Path, tmp_path: Path) -> None:
    assert main(["convert-data", str(renamed), str(tmp_path / "copy"), f"--to={to}"]) == 0
    found = open_data(tmp_path / "copy").split("val")
    assert all(path.name.startswith("caf%E9") for path in found.image_paths)


def test_findings_are_written(renamed: Path, tmp_path: Path) -> None:
    files = [f"--{kind}={tmp_path / f'{LATIN1}.{kind}'}" for kind in ("json", "html")]
    assert main(["check", str(renamed), *files, "--no-advice"]) == 0


@pytest.mark.slow
def test_a_run_and_all_that_is_made_of_it(renamed: Path, tmp_path: Path) -> None:
    runs = tmp_path / f"{LATIN1}-runs"
    run = runs / f"{LATIN1}-run"
    assert main(["train", f"--data={renamed}", f"--runs={runs}", f"--run={LATIN1}-run", *OPTIONS]) == 0
    assert main(["train", f"--resume={run}"]) == 0
    assert main(["eval", f"--weights={run}", f"--data={renamed}", f"--output={run / LATIN1}"]) == 0
    assert (
        main(["eval", f"--results={run / LATIN1 / 'results.json'}", f"--data={renamed}", f"--output={run / 'e'}"]) == 0
    )
    assert main(["report", str(run), f"--evaluation={run / LATIN1}", "--num-images=2"]) == 0
    assert main(["diagnose", str(run)]) in {0, 1}
    assert main(["info", str(run), f"--output={tmp_path / LATIN1}"]) == 0
    assert main(["convert", str(run), "--to=darknet", f"--output={tmp_path / LATIN1}-net"]) == 0


@pytest.mark.slow
def test_what_is_exported_from_it(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / LATIN1)
    file = tmp_path / f"{LATIN1}.onnx"
    assert main(["export", str(moved), "--to=onnx", f"--output={file}"]) == 0
