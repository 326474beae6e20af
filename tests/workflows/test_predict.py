"""`lookonce predict`: one picture, one answer, whatever way it comes; videos; what is written; how it ends."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raised import raises
from untrained import save_untrained

import lookonce
from lookonce.cli.main import main
from lookonce.data.source import open_data
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.exporters.base import textured_canvases
from lookonce.log import pace
from lookonce.prediction import media, sources
from lookonce.prediction.result import PredictedImage
from lookonce.prediction.sources import find_media
from lookonce.prediction.video import Frame
from lookonce.runtimes.registry import load_runtime
from lookonce.workflows.export import export
from lookonce.workflows.predict import Predicted, as_text, predict, stream
from lookonce.workflows.predict_request import PredictRequest

av = pytest.importorskip("av", reason="the extra `video` is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of two classes that finds something in every texture, exported."""
    folder = tmp_path_factory.mktemp("weights")
    save_untrained(folder / "best", ("cat", "dog"), (1, 2))
    export(folder / "best", output=folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return list(textured_canvases(5, (60, 80), seed=3))


@pytest.fixture(scope="module")
def folder(images: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "straße 猫"
    path.mkdir()
    for number, image in enumerate(images):
        (path / f"{'abcde'[number]}.png").write_bytes(png(image))
    return path


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def rows(predicted: Predicted) -> list[list[dict[str, object]]]:
    """The detections of each picture, from detections.json."""
    content = json.loads((predicted.output / "detections.json").read_text(encoding="utf-8"))
    return [one["detections"] for one in content["images"]]


@pytest.fixture(scope="module")
def expected(weights: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, object]]]:
    """What is found in each picture alone."""
    found = []
    for path in sorted(folder.iterdir()):
        (one,) = rows(predict(str(path), weights=weights, output=tmp_path_factory.mktemp("alone"), images=False))
        found.append(one)
    assert all(found)
    return found


def lossless_video(path: Path, images: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "bgr0"
        for image in images:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize("way", ["folder", "pattern", "list", "standard input", "video", "neighbours"])
def test_the_same_image_gives_the_same_boxes_to_the_last_bit(
    way, weights, folder, images, expected, tmp_path, monkeypatch
):
    source = str(folder)
    if way == "pattern":
        source = str(folder / "*.png")
    if way == "list":
        (tmp_path / "list.txt").write_text("\n".join(map(str, sorted(folder.iterdir()))), encoding="utf-8")
        source = str(tmp_path / "list.txt")
    if way == "standard input":
        content = b"".join(png(image) for image in images)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        source = "-"
    if way == "video":
        source = str(lossless_video(tmp_path / "clip.mkv", images))
    if way == "neighbours":
        paths = sorted(folder.iterdir())
        (tmp_path / "list.txt").write_text("\n".join(f"{paths[4]}\n{path}" for path in paths), encoding="utf-8")
        source = str(tmp_path / "list.txt")
    found = rows(predict(source, weights=weights, output=tmp_path / "out", images=False))
    assert (found[1::2] if way == "neighbours" else found) == expected


def test_where_nothing_is_read_no_rate_is_printed(weights, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    predicted = predict(str(tmp_path / "a.jpg"), weights=weights, output=tmp_path / "out")
    assert predicted.exit_code == 1
    assert not any("images/s" in line for line in as_text(predicted))


def test_a_video_is_drawn_as_a_video_and_written_down_frame_by_frame(weights, images, tmp_path):
    source = lossless_video(tmp_path / "clip.mkv", images)
    predicted = predict(str(source), weights=weights, output=tmp_path / "out", track=True, save="images,json,yolo")
    assert predicted.exit_code == 0
    assert predicted.num_images == 5
    first, *_, last = as_text(predicted)
    assert "5 frames" in first
    assert "annotated video," in last
    with av.open(str(tmp_path / "out" / "clip.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12, 0.16], atol=1e-6)
    content = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert [one["frame"] for one in content["images"]] == [0, 1, 2, 3, 4]
    assert [one["image_id"] for one in content["images"]] == [1, 2, 3, 4, 5]
    assert all("track" in one for one in content["images"][0]["detections"])
    assert len(list((tmp_path / "out" / "labels" / "clip").iterdir())) == 5


@pytest.mark.parametrize("program", ["yolo", "coco", "voc", "labelme", "label-studio", "cvat"])
def test_pre_labels_are_a_data_set_with_the_detections_as_boxes(program, weights, folder, tmp_path):
    predicted = predict(str(folder), weights=weights, output=tmp_path, save="json", as_labels=program)
    source = open_data(predicted.pre_labels)
    assert source.format == program
    dataset = source.split(*source.splits)
    assert dataset.class_names == ("cat", "dog")
    assert [path.name for path in dataset.image_paths] == [path.name for path in sorted(folder.iterdir())]
    for index, image in enumerate(predicted):
        np.testing.assert_array_equal(dataset.labels[dataset.rows(index)], image.labels)
        np.testing.assert_allclose(dataset.boxes_xyxy[dataset.rows(index)], image.boxes_xyxy, atol=0.0006)
    assert "pre-labels/" in list(as_text(predicted))[-1]


def test_pre_labels_of_label_studio_are_predictions_with_scores(weights, folder, tmp_path):
    predicted = predict(str(folder), weights=weights, output=tmp_path, save="json", as_labels="label-studio")
    (task, *_) = json.loads((tmp_path / "pre-labels" / "tasks_train.json").read_text(encoding="utf-8"))
    (prediction,) = task["predictions"]
    scores = [result["score"] for result in prediction["result"]]
    np.testing.assert_allclose(scores, predicted[0].scores, rtol=1e-6)
    assert prediction["score"] == min(scores)
    assert task["data"]["image"] == "/data/local-files/?d=train/a.png"


def test_images_that_were_labelled_before_are_not_replaced(weights, folder, tmp_path):
    (tmp_path / "pre-labels").mkdir()
    (tmp_path / "pre-labels" / "corrected.txt").write_text("mine")
    with raises(SettingsError, "pre-labels", setting="output"):
        predict(str(folder), weights=weights, output=tmp_path, as_labels="yolo")


def test_only_results_of_an_earlier_prediction_are_replaced_and_what_is_left_of_it_is_named(
    weights, folder, tmp_path, caplog
):
    files = sorted(map(str, folder.glob("*.png")))
    predict(files[0], (files[1],), weights=weights, output=tmp_path, save="images,csv")
    assert not caplog.messages
    predict(files[0], (files[2],), weights=weights, output=tmp_path)
    (warning,) = caplog.messages
    assert warning.endswith(": b.png, detections.csv")
    assert {path.name for path in tmp_path.iterdir()} >= {"a.png", "b.png", "c.png", "detections.json"}


@pytest.mark.parametrize("name", ["a.png", "results.json"])
def test_files_that_no_prediction_wrote_are_not_replaced(weights, folder, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with raises(SettingsError, name, setting="output"):
        predict(str(folder / "a.png"), weights=weights, output=tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_video_has_no_pre_labels(weights, images, tmp_path):
    lossless_video(tmp_path / "clip.mkv", images[:1])
    with raises(SettingsError, "clip.mkv", setting="as_labels"):
        predict(str(tmp_path / "clip.mkv"), weights=weights, output=tmp_path / "out", as_labels="yolo")
    with raises(SettingsError, "cvat", setting="as_labels", value="excel"):
        PredictRequest("x", as_labels="excel")


def test_images_and_videos_may_lie_in_one_folder_and_a_bad_video_costs_nothing_else(weights, images, tmp_path):
    lossless_video(tmp_path / "b.mkv", images[:2])
    (tmp_path / "a.png").write_bytes(png(images[0]))
    (tmp_path / "c.mp4").write_bytes(b"no video")
    predicted = predict(str(tmp_path), weights=weights, output=tmp_path / "out")
    assert predicted.num_images == 3
    assert predicted.exit_code == 1
    assert list(predicted.failed) == [str(tmp_path / "c.mp4")]
    assert (tmp_path / "out" / "b.mp4").exists()
    assert "images and video," in list(as_text(predicted))[-1]


def test_sources_as_a_shell_expands_a_pattern_are_predicted_together(weights, folder, expected, tmp_path, capsys):
    files = sorted(map(str, folder.glob("*.png")))[:2]
    assert main(["predict", *files, "--weights", str(weights), "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("a.png: ")
    written = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert [one["file"] for one in written["images"]] == files
    with raises(SettingsError, setting="more", value=files[1]):
        predict(files[0], more=(files[1],), weights=weights, output=tmp_path / "part", part="1/2")


def test_weights_beside_the_source_are_no_images(weights, folder, tmp_path):
    run, exported = tmp_path / "run", tmp_path / "model.onnx"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(folder / "a.png", run / "drawn.png")
    exported.write_bytes(b"\x08\x08\x12\x00")
    for named in (str(weights), str(run), str(exported)):
        with raises(SettingsError, "--weights", setting="more", value=named):
            predict(str(folder), (named,), output=tmp_path / "out")
    with raises(SettingsError, "--weights", setting="source", value=str(exported)):
        predict(str(exported), (str(folder),), output=tmp_path / "out")
    with raises(DataError, path="x" * 300):
        predict(str(folder), ("x" * 300,), output=tmp_path / "out")


def test_what_is_saved_is_what_was_asked_for(weights, folder, tmp_path):
    predict(str(folder / "a.png"), weights=weights, output=tmp_path, save="jsonl, CSV")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detections.csv", "detections.jsonl"]


def test_chosen_classes_and_limits(weights, folder, expected, tmp_path):
    predicted = predict(str(folder), weights=weights, output=tmp_path, classes="dog", limit=2, images=False)
    assert rows(predicted) == [[one for one in found if one["class"] == "dog"] for found in expected[:2]]


def test_tiles_find_in_a_large_image_what_each_part_has(weights, images, tmp_path):
    """A picture of four textures side by side in tiles without overlap: each tile is one texture."""
    (tmp_path / "wide.png").write_bytes(png(np.hstack([image[:60, :60] for image in images[:4]])))
    (tmp_path / "part.png").write_bytes(png(images[0][:60, :60]))
    wide = predict(str(tmp_path / "wide.png"), weights=weights, output=tmp_path / "1", tile=60, tile_overlap=0.0)
    part = predict(str(tmp_path / "part.png"), weights=weights, output=tmp_path / "2")
    assert wide.num_detections > part.num_detections
    content = json.loads((tmp_path / "1" / "detections.json").read_text())
    assert (content["tile"], content["tile_overlap"]) == (60, 0.0)


@pytest.mark.parametrize(
    ("options", "setting", "value"),
    [
        ({"save": "picture"}, "save", "picture"),
        ({"save": " , "}, "save", None),
        ({"tile": 10}, "tile", 10),
        ({"tile_overlap": 1.0}, "tile_overlap", 1.0),
        ({"limit": 0}, "limit", 0),
        ({"classes": "cow"}, "classes", "cow"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_written(
    weights, folder, tmp_path, options, setting, value
):
    with raises(SettingsError, setting=setting, value=value):
        predict(str(folder), weights=weights, output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_class_that_the_checkpoint_does_not_have_is_an_error_before_it_is_loaded(weights, folder, monkeypatch):
    monkeypatch.setattr("lookonce.workflows.predict.load_runtime", None)  # loads PyTorch, which takes seconds
    with raises(SettingsError, setting="classes", value="cow"):
        predict(str(folder), weights=weights.with_name("best"), classes="dog,cow")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_nothing_is_written(weights, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with raises(DataError, "DISPLAY"):
        predict("screen", weights=weights, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("word", "name"), [("yolo", "labels"), ("crops", "crops")])
def test_labels_of_the_user_are_not_written_over(weights, folder, tmp_path, word, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.txt").write_text("mine")
    with raises(SettingsError, name, setting="output", value=tmp_path):
        predict(str(folder), weights=weights, output=tmp_path, save=word)
    assert (tmp_path / name / "a.txt").read_text() == "mine"


def test_from_python_images_come_one_by_one(weights, folder, expected):
    found = stream(load_runtime(weights), PredictRequest(str(folder), weights=weights), find_media(folder))
    first = next(found)
    assert first.image.shape == (60, 80, 3)
    assert first.detections.scores.tolist() == [one["score"] for one in expected[0]]
    found.close()
    assert len(list(lookonce.load(weights).stream(folder, limit=3))) == 3


def endless_camera(_index: int):
    for number in count():
        time.sleep(0.002)
        yield Frame(seconds=number / 100, pixels=lambda: np.full((60, 80, 3), 99, np.uint8))


def test_a_camera_goes_on_until_the_limit(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "camera_frames", endless_camera)
    predicted = predict("0", weights=weights, output=tmp_path, limit=4)
    assert (predicted.num_images, predicted.exit_code) == (4, 0)
    assert (tmp_path / "camera-0.mp4").exists()


@pytest.fixture
def ctrl_c():
    """Python's own reaction, also where the shell has started the tests in the background, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_how_a_camera_ends_and_everything_is_written(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def until_ctrl_c(index: int):
        for number, frame in enumerate(endless_camera(index)):
            if number == 10:
                os.kill(os.getpid(), signal.SIGINT)
            yield frame

    monkeypatch.setattr(sources, "camera_frames", until_ctrl_c)
    assert main(["predict", "0", "--weights", str(weights), "--output", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))
    assert len(content["images"]) >= 1
    assert "written" in capsys.readouterr().out


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_a_folder_keeps_what_was_found(weights, folder, tmp_path, monkeypatch):
    real = media.read_image

    def interrupted(source, *, name):
        if name.endswith("d.png"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return real(source, name=name)

    monkeypatch.setattr(media, "read_image", interrupted)
    assert main(["predict", str(folder), "--weights", str(weights), "--output", str(tmp_path)]) == 130
    assert json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))["failed"] == []


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (10, 40, 5.0, "2.0 images/s, 0:15 left"),
        (10, 1210, 10.0, "1.0 images/s, 20:00 left"),
        (3, None, 1.5, "2.0 images/s"),
    ],
)
def test_pace_and_time_left(done, total, seconds, expected):
    assert pace(done, total, seconds) == expected


MEASURE = """
import resource, sys
from pathlib import Path
from lookonce.workflows.predict import predict
weights, *videos = map(Path, sys.argv[1:])
for video in videos:
    predict(str(video), weights=weights, output=video.with_suffix(""), save="images,json,jsonl,csv")
    print("KIB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_memory_does_not_grow_with_the_length_of_a_video(weights, tmp_path):
    """20 and 320 frames of 320x240: kept in memory the longer would need 69 MB more."""
    image = cv2.resize(textured_canvases(1, (64, 64))[0], (320, 240))
    videos = [lossless_video(tmp_path / f"{number}.mkv", [image] * number) for number in (20, 320)]
    command = [sys.executable, "-c", MEASURE, weights, *videos]  # one process: its peak after each of them
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shorter, longer = (int(kib) / 1024 for kib in re.findall(r"KIB (\d+)", done.stdout))
    assert longer - shorter < 25


@pytest.mark.parametrize(("counts", "line"), [((1, 1, 0), ""), ((1, 0, 0, 0), "3 of 4"), ((0, 0), "no image")])
def test_images_without_detections_are_counted_where_a_lower_threshold_may_help(counts, line):
    images = [
        PredictedImage(
            name=f"{number}.jpg",
            place=Path(f"{number}.jpg"),
            image_id=number,
            size_wh=(9, 9),
            detections=Detections(
                boxes_xyxy=np.zeros((count, 4), np.float32),
                scores=np.ones(count, np.float32),
                labels=np.zeros(count, np.int64),
            ),
            class_names=["cup"],
        )
        for number, count in enumerate(counts)
    ]
    predicted = Predicted(output=None, images=images, num_images=len(counts), num_detections=sum(counts))
    advice = [text for text in as_text(predicted) if "--threshold" in text]
    assert len(advice) == bool(line)
    assert all(text.startswith(line) for text in advice)
    assert all("--store-thresholds" in text for text in advice if line.startswith("3"))


def test_a_checkpoint_runs_at_another_input_size(weights, folder, tmp_path):
    best = weights.with_name("best")
    words = ["--weights", str(best), "--image-size", "64x96", "--no-images", "--quiet"]
    assert main(["predict", str(folder), *words, "--output", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out/detections.json").read_text())
    assert written["image_size"] == "64x96"
    found = [image["detections"] for image in written["images"]]
    assert found == [image.to_dict()["detections"] for image in lookonce.load(best, image_size="64x96").predict(folder)]
    assert found != [image.to_dict()["detections"] for image in lookonce.load(best).predict(folder)]
    with raises(SettingsError, setting="image_size", value=96):
        lookonce.predict(folder, weights=weights, image_size=96, output=tmp_path / "none")
