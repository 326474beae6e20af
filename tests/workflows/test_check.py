import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from planted_faults import FAULTS, plant_faults
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.data.finding_kinds import FINDING_KINDS
from lookonce.data.findings import Finding
from lookonce.errors import DataError, SettingsError
from lookonce.storage import sha256_file
from lookonce.workflows.check import as_text, check


def test_findings_are_written_and_shown(shared: Callable[[str], Path], tmp_path: Path) -> None:
    checked = check(shared("data/bccd"), json_file=tmp_path / "deep" / "check.json", decode=False, advice=False)
    written = json.loads((tmp_path / "deep" / "check.json").read_text())
    assert written["num_errors"] == checked.num_errors == 0
    assert written["splits"][0]["class_boxes"] == {"RBC": 2381, "WBC": 214, "Platelets": 209}
    assert {finding["severity"] for finding in written["findings"]} == {"warning"}
    lines = list(as_text(checked, shown=1))
    assert re.fullmatch(r"  train: 205 .*\b0 %.* 640x480; 2,804 .*", lines[1])
    assert any(line.startswith("warning: box-without-area (2): ") for line in lines)
    assert lines[-5] == "  and 1 more"
    assert lines[-4].startswith("364 ")
    assert "--fix CORRECTED" in lines[-3]  # both boxes without area are left out
    assert lines[-2].startswith("written: ")
    assert lines[-1] == "0 errors, 2 warnings, 0 notes"


def test_the_command_that_corrects_a_json_names_its_images_and_can_be_pasted(tmp_path: Path) -> None:
    annotations, images = tmp_path / "my labels.json", tmp_path / "my images"
    images.mkdir()
    Image.new("RGB", (40, 30)).save(images / "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    boxes = [{"id": row, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9 * row, 9]} for row in (0, 1)]
    content = {"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "cup"}]}
    annotations.write_text(json.dumps(content))
    checked = check(annotations, images=images, decode=False, advice=False)
    (line,) = [line for line in as_text(checked) if "--fix" in line]
    words = shlex.split(line.split("`")[1])
    assert words == ["lookonce", "check", str(annotations), "--images", str(images), "--fix", "CORRECTED"]


def test_a_test_split_that_is_not_there_is_no_error_and_missing_images_are_not_decoded(tmp_path: Path) -> None:
    """As in Roboflow's exports, whose data.yaml always names three folders."""
    for split, names in {"train": ("a", "b"), "valid": ("c",)}.items():
        for folder in ("images", "labels"):
            (tmp_path / split / folder).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (40, 30), "#" + f"{ord(name):x}" * 3).save(tmp_path / split / "images" / f"{name}.png")
            (tmp_path / split / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    entries = {"train": "../train/images", "val": "../valid/images", "test": "../test/images", "names": ["cup"]}
    (tmp_path / "data.yaml").write_text(json.dumps(entries))
    checked = check(tmp_path, only=["missing-split,unreadable-annotations"])
    assert [(found.name, found.severity) for found in checked.result.findings] == [("missing-split", "warning")]
    list_file = tmp_path / "train.txt"
    list_file.write_text("train/images/a.png\ntrain/images/absent.png\n")
    (tmp_path / "data.yaml").write_text(json.dumps({"train": "train.txt", "names": ["cup"]}))
    lines = list(as_text(check(tmp_path, advice=False)))
    assert any(line.startswith("1 image decoded") for line in lines)


def test_a_corrected_copy_has_the_format_of_the_data_set(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    shape = {"label": "cup", "shape_type": "rectangle", "points": [[1, 1], [90, 20]]}
    content = {"imagePath": "a.png", "imageWidth": 40, "imageHeight": 30, "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    fixed = check(tmp_path, fix=tmp_path / "fixed", advice=False).fixed
    assert fixed is not None
    assert (fixed.copy.format, len(fixed.changes)) == ("labelme", 1)


def test_what_is_no_data_set_is_an_error(tmp_path: Path) -> None:
    with raises(DataError, path=tmp_path):
        check(tmp_path)


def test_checks_are_chosen_by_name_or_group(shared: Callable[[str], Path]) -> None:
    data = shared("data/bccd")
    assert not check(data, skip=["boxes,copies"], decode=False, advice=False).result.findings
    with raises(SettingsError, " tiny-box?", value="tiny-boxes"):
        check(data, only=["tiny-boxes"])


def test_the_scene_that_two_splits_of_bccd_share_is_noted_and_no_copy_is_claimed(shared: Callable[[str], Path]) -> None:
    """BloodImage_00037 (val) is BloodImage_00038 (train) in another focus; no two of the 364 are copies."""
    result = check(shared("data/bccd"), only=["copies"]).result
    assert result.checks >= {"near-copy", "leaked-image"}
    assert [(finding.name, Path(finding.file).stem, Path(finding.twin).stem) for finding in result.findings] == [
        ("same-scene", "BloodImage_00037", "BloodImage_00038")
    ]


def test_nothing_is_held_out_where_training_has_another_validation_split_or_none(tmp_path: Path) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    image = {"id": 1, "file_name": "1.png", "width": 16, "height": 16}
    data = tmp_path / "mine.json"
    parts = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cell"}]}
    data.write_text(json.dumps(parts))
    for val_split, found in (("val", True), ("none", False), ("train", False)):
        result = check(data, images=tmp_path, only=["annotations"], decode=False, val_split=val_split).result
        assert ("held-out-val" in {finding.name for finding in result.findings}) is found, val_split
    with raises(SettingsError, setting="val_split", value="valid"):
        check(data, images=tmp_path, val_split="valid")


@pytest.fixture
def planted(clean_data: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(clean_data, tmp_path / "planted")
    plant_faults(folder)
    return folder


def test_a_corrected_copy_has_only_what_a_person_must_decide(planted: Path, tmp_path: Path) -> None:
    before = {path: sha256_file(path) for path in planted.rglob("*.*")}
    checked = check(planted, fix=tmp_path / "copy", advice=False)
    assert {path: sha256_file(path) for path in planted.rglob("*.*")} == before
    again = check(tmp_path / "copy", advice=False).result.findings
    to_decide = Counter(found.name for found in checked.result.findings if not FINDING_KINDS[found.name].fix)
    assert Counter(found.name for found in again) == to_decide
    assert checked.fixed is not None
    assert len(checked.fixed.changes) == len(FAULTS) - to_decide.total()
    assert any("--fix" in line for line in as_text(check(planted, advice=False)))
    assert not any("--fix" in line for line in as_text(checked))
    told = (tmp_path / "copy" / "changes.txt").read_text().splitlines()
    assert set(checked.fixed.changes) < set(told)
    assert (tmp_path / "copy" / "train" / "Photo-2.JPG").is_file()


def test_a_corrected_copy_needs_a_new_folder(planted: Path) -> None:
    with raises(DataError, path=planted):
        check(planted, fix=planted)


def test_advice_and_page_come_with_the_findings(planted: Path, tmp_path: Path) -> None:
    checked = check(planted, html=tmp_path / "check.html", json_file=tmp_path / "check.json", decode=False)
    assert checked.advice is not None
    assert any(line.startswith("  Train with --image-size ") for line in as_text(checked))
    written = json.loads((tmp_path / "check.json").read_text())
    assert written["advice"]["image_size"] == checked.advice.image_size
    assert [row["image_size"] for row in written["advice"]["rows"]] == list(range(320, 641, 32))
    assert "lookonce check" in (tmp_path / "check.html").read_text()
    assert {f"written: {tmp_path / name}" for name in ("check.html", "check.json")} <= {*as_text(checked)}


def test_images_without_annotations_are_looked_at_alone(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """One picture, and the folder that it lies in: the truncated one is named, and nothing is said of boxes."""
    truncated = shared("data/media/pictures/truncated.jpg")
    for data in (truncated, truncated.parent):
        checked = check(data, html=tmp_path / "page.html", advice=True)
        assert [(found.name, Path(found.file).name) for found in checked.result.findings] == [
            ("truncated-image", "truncated.jpg")
        ]
        assert checked.num_errors == 1
        assert checked.advice is None
        assert any("truncated.jpg: truncated JPEG" in line for line in as_text(checked))


def test_images_of_a_split_name_the_data_yaml_above_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = tmp_path / "train" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(images / "a.png")
    (tmp_path / "data.yaml").write_text("names: [cup]\n")
    with caplog.at_level("INFO"):
        check(images)
    assert f"--data {tmp_path / 'data.yaml'}" in caplog.text


def test_images_without_annotations_cannot_be_corrected(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with raises(DataError, "--fix", path=tmp_path):
        check(tmp_path, fix=tmp_path / "copy")


def test_label_errors_are_looked_for_with_weights_only(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def find(runtime: str, dataset: Dataset, _progress: object) -> list[Finding]:
        asked.append((runtime, dataset.split))
        image = str(dataset.image_paths[0])
        return [Finding(name="doubtful-class", file=image, message=image, box_xyxy=(1, 1, 9, 9), tag="mug 0.90")]

    monkeypatch.setattr("lookonce.workflows.check.load_runtime", lambda weights, **_: weights.name)
    monkeypatch.setattr("lookonce.evaluation.label_errors.find_label_errors", find)
    html = tmp_path / "a.html"
    checked = check(planted, weights=tmp_path / "best", html=html, decode=False, advice=False).result
    assert {split for _, split in asked} == {split.split for split in checked.splits}
    assert ("doubtful-class" in checked.checks, checked.findings[-1].tag) == (True, "mug 0.90")
    assert ">mug 0.90</text>" in html.read_text()
    assert "doubtful-class" not in check(planted, decode=False, advice=False).result.checks
