"""The result files of one picture with two things, of a clip, and of nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.prediction.outputs import TEXT_OUTPUTS, Context, open_outputs
from lookonce.prediction.result import PredictedImage
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord

RECORD = ModelRecord(dialect=DIALECTS["darknet"], class_names=("猫", 'a "dog", big'), category_ids=(17, 4))


def picture(name: str = "a.jpg", image_id: int = 1, **more: object) -> PredictedImage:
    """200x100 pixels: a dog at 20..60 x 10..50, and a cat at 100..200 x 0..100."""
    found = Detections(
        boxes_xyxy=np.array([[20, 10, 60, 50], [100, 0, 200, 100]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([1, 0]),
    )
    return PredictedImage(
        **{"name": name, "place": Path(name), "image_id": image_id, "size_wh": (200, 100), "detections": found}
        | {"class_names": RECORD.class_names}
        | more
    )


NOTHING = picture("b.jpg", 2, detections=Detections.none())


def write(folder: Path, *pictures: PredictedImage, failed: dict[str, str] | None = None) -> None:
    context = Context(folder=folder, record=RECORD, head={"weights": "w", "threshold": 0.25})
    with open_outputs(list(TEXT_OUTPUTS), context, failed or {}) as outputs:
        for one in pictures:
            for output in outputs:
                output.add(one)


def test_detections_json_holds_the_head_the_images_and_what_failed(tmp_path):
    write(tmp_path, picture(), NOTHING, failed={"bad.jpg": "bad.jpg: is empty"})
    content = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))
    assert content["weights"] == "w"
    assert content["failed"] == [{"file": "bad.jpg", "error": "bad.jpg: is empty"}]
    first, second = content["images"]
    assert first["detections"][1] == {"class": "猫", "label": 0, "score": 0.5, "box_xyxy": [100, 0, 200, 100]}
    assert (first["file"], first["image_id"], first["width"], first["height"]) == ("a.jpg", 1, 200, 100)
    assert second["detections"] == []


def test_an_image_in_one_line_names_the_best_and_counts_the_rest():
    assert str(picture(place=Path("in/a.jpg"))) == 'in/a.jpg: a "dog", big 0.75, 猫 0.50'
    many = Detections(
        boxes_xyxy=np.ones((12, 4), np.float32), scores=np.full(12, 0.5, np.float32), labels=np.zeros(12, np.int64)
    )
    assert str(picture(detections=many)).endswith("猫 0.50 and 2 more")
    assert str(NOTHING) == "b.jpg: no detections"


def test_results_json_is_cocos(tmp_path):
    write(tmp_path, picture(), NOTHING)
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"image_id": 1, "category_id": 4, "bbox": [20, 10, 40, 40], "score": 0.75},
        {"image_id": 1, "category_id": 17, "bbox": [100, 0, 100, 100], "score": 0.5},
    ]


def test_json_lines_are_there_as_soon_as_their_image_is_done(tmp_path):
    context = Context(folder=tmp_path, record=RECORD, head={})
    with open_outputs(["jsonl"], context, {"bad.jpg": "is empty"}) as (output,):
        output.add(picture())
        (line,) = (tmp_path / "detections.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(line)["file"] == "a.jpg"
    last = (tmp_path / "detections.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last) == {"file": "bad.jpg", "error": "is empty"}


def test_csv_has_a_line_for_each_detection(tmp_path):
    write(tmp_path, picture(), NOTHING)
    with (tmp_path / "detections.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["class"] == 'a "dog", big'
    assert [float(first[name]) for name in ("score", "left", "top", "right", "bottom")] == [0.75, 20, 10, 60, 50]
    assert (first["frame"], first["track"]) == ("", "")
    assert second["class"] == "猫"


def test_yolo_lines_are_label_centre_size_score_as_parts_of_the_image(tmp_path):
    write(tmp_path, picture("sub/a.jpg"), NOTHING)
    assert (tmp_path / "labels" / "sub" / "a.txt").read_text() == (
        "1 0.200000 0.300000 0.200000 0.400000 0.750000\n0 0.750000 0.500000 0.500000 1.000000 0.500000\n"
    )
    assert (tmp_path / "labels" / "b.txt").read_text() == ""


def test_images_that_differ_in_their_suffix_alone_have_label_files_of_their_own(tmp_path):
    write(tmp_path, picture("a.jpg"), picture("a.png"))
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["a.png.txt", "a.txt"]


def test_frames_and_tracks_are_told_everywhere(tmp_path):
    frame = picture(
        "car.mp4", 8, place=Path("car/000007.jpg"), frame=7, seconds=0.28, track_ids=np.array([3, 0], np.int64)
    )
    write(tmp_path, frame)
    (told,) = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))["images"]
    assert (told["frame"], told["seconds"]) == (7, 0.28)
    assert [one["track"] for one in told["detections"]] == [3, None]
    with (tmp_path / "detections.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["frame"], row["track"]) for row in csv.DictReader(file)] == [("7", "3"), ("7", "")]
    lines = (tmp_path / "labels" / "car" / "000007.txt").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["3", "0"]


def test_without_images_the_files_are_whole(tmp_path):
    write(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == []
    content = json.loads((tmp_path / "detections.json").read_text())
    assert (content["images"], content["failed"]) == ([], [])
    assert not list(tmp_path.glob(".*"))


def test_an_interruption_leaves_what_was_found_and_says_so(tmp_path, caplog):
    context = Context(folder=tmp_path, record=RECORD, head={"weights": "w"})

    def interrupted() -> None:
        with open_outputs(["jsonl", "json"], context, {}) as (_, output, _):
            output.add(picture())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))["images"]) == 1
