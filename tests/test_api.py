"""`import lookonce`: its names, the detector that `load` opens, and the results that it returns."""

import io
import json
import runpy
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, get_args, get_type_hints

import cv2
import numpy as np
import pytest
import torch
from forked import in_a_fork
from raised import raises
from untrained import save_untrained

import lookonce
from lookonce.cli.main import main
from lookonce.cli.verbs import VERBS
from lookonce.errors import DataError, SettingsError
from lookonce.training.run_folder import RunFolder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    save_untrained(folder / "net", ("cat", "dog"), (17, 18))
    return folder / "net"


@pytest.fixture(scope="module")
def detector(weights: Path) -> lookonce.LoadedDetector:
    return lookonce.load(str(weights), device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, image: np.ndarray) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "in" / name), image[..., ::-1])
    return tmp_path / "in"


def test_every_verb_is_a_function_of_its_name() -> None:
    assert {verb.replace("-", "_") for verb in VERBS} <= set(lookonce.__all__)
    assert lookonce.eval.__wrapped__ is lookonce.evaluate.__wrapped__  # type: ignore[attr-defined]
    for name in lookonce.__all__:
        assert callable(getattr(lookonce, name)), name
    assert set(lookonce.__all__) <= set(dir(lookonce))
    with pytest.raises(AttributeError):
        _ = lookonce.nonsense


def test_the_types_that_verbs_return_have_names_here() -> None:
    for name in lookonce.__all__:
        known = getattr(lookonce, name)
        if not isinstance(known, type):
            result = get_type_hints(known)["return"]
            for kind in get_args(result) or (result,):
                assert kind in (Path, NoneType) or getattr(lookonce, kind.__name__) is kind, name
                assert name == "load" or kind is NoneType or kind.__str__ is not object.__str__, name
                # IPython shows by the first class that has one of these
                shows = next(vars(one) for one in kind.__mro__ if {"_repr_pretty_", "__repr__"} & vars(one).keys())
                assert kind in (Path, NoneType, lookonce.Predicted) or name == "load" or "_repr_pretty_" in shows, name


def test_printing_a_verbs_result_shows_what_its_command_prints(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\nwritten: " in str(lookonce.convert(weights, to="darknet", output=tmp_path / "files"))
    capsys.readouterr()
    assert main(["info", str(weights)]) == 0
    info, texts = lookonce.info(weights), list[str]()
    assert str(info) == capsys.readouterr().out.rstrip()
    info._repr_pretty_(SimpleNamespace(text=texts.append), False)  # as a notebook does
    assert texts == [str(info)]


def test_a_run_and_a_copy_of_a_data_set_are_one_line() -> None:
    run = RunFolder(Path("runs/data-1"))
    result = lookonce.TrainResult(run=run, metrics={"AP": 0.5404, "AP50": 0.8921}, stopped=False)
    assert str(result) == f"{run.path}: finished, AP 0.540, AP50 0.892"
    assert Path(result) == run.path
    assert str(lookonce.TrainResult(run=run, metrics={}, stopped=True)) == f"{run.path}: stopped, not evaluated"
    counts: dict[str, Any] = {"images": {"train": 1200, "val": 3}, "boxes": {"train": 2, "val": 0}}
    copy = lookonce.Copy(
        folder=Path("c"), format="coco", **counts, crowd_left_out=0, largest_difference=0.0, renamed={}
    )
    assert str(copy) == "c (coco): train 1,200 images, 2 boxes; val 3 images, 0 boxes"


def test_type_checkers_and_editors_know_the_functions_as_they_are() -> None:
    made = runpy.run_path(str(ROOT / ".ci/stubs.py"))["stub"]()
    assert Path(lookonce.__file__).with_suffix(".pyi").read_text(encoding="utf-8") == made


@pytest.mark.parametrize(
    ("call", "setting", "value"),
    [
        (lambda: lookonce.report(["runs/a"]), "run", ["runs/a"]),  # type: ignore[arg-type]
        (lambda: lookonce.report("runs/a", 5), "more", 5),  # type: ignore[arg-type]
        (lambda: lookonce.export(None, names=3.5), "names", 3.5),  # type: ignore[arg-type]
        (lambda: lookonce.convert_data("a", None, to="yolo"), "destination", None),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_path_is_told_by_name(call: Callable[[], object], setting: str, value: object) -> None:
    with raises(lookonce.SettingsError, setting=setting, value=value):
        call()


def test_one_path_stands_for_a_list_of_one(tmp_path: Path) -> None:
    with raises(lookonce.LookonceError, path=tmp_path / "none.onnx"):
        lookonce.bench(tmp_path / "none.onnx")
    with raises(lookonce.LookonceError, path=tmp_path / "none.onnx"):
        lookonce.bench([str(tmp_path / "none.onnx")])


def test_import_is_light() -> None:
    code = "import sys, lookonce; print({'torch', 'numpy', 'cv2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_result_iterates_over_its_images_and_writes_nothing(
    detector: lookonce.LoadedDetector, folder: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    results = detector.predict(".")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png"]
    assert [one.name for one in results] == ["a.png", "b.png"]
    assert (len(results), results.num_images, results.output) == (2, 2, None)
    first = results[0]
    assert len(first) == len(first.boxes_xyxy) == len(first.scores) == len(first.labels) == len(first.names) > 0
    assert first.names == [("cat", "dog")[label] for label in first.labels]
    np.testing.assert_array_equal(first.image, image)
    assert str(first).startswith(f"a.png: {first.names[0]} {first.scores[0]:.2f}")
    assert str(results) == f"{results[0]}\n{results[1]}"
    assert repr(first) == f"<{first}>"
    assert repr(results) == f"<Predicted: 2 images, {results.num_detections} detections>"
    assert "2 classes, 64x64" in repr(detector)


def test_all_ways_to_give_an_image_find_the_same(
    detector: lookonce.LoadedDetector, folder: Path, image: np.ndarray
) -> None:
    (expected,) = detector.detect([image])
    path = folder / "a.png"
    for source in (
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        image,
        image / 255,
        [image],
        image[None],
    ):
        (result,) = detector(source)
        np.testing.assert_array_equal(result.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(result.scores, expected.scores)
    (result,) = detector(image[..., ::-1], bgr=True)
    np.testing.assert_array_equal(result.scores, expected.scores)


def test_a_result_is_drawn_saved_and_written_as_json(
    detector: lookonce.LoadedDetector, image: np.ndarray, tmp_path: Path
) -> None:
    (result,) = detector(image)
    drawn = result.plot()
    assert drawn.shape == image.shape
    assert (drawn != image).any()
    saved = result.save(str(tmp_path / "drawn.png"))
    np.testing.assert_array_equal(cv2.imread(str(saved))[..., ::-1], drawn)
    content = json.loads(json.dumps(result.to_dict()))
    assert (content["width"], content["height"], len(content["detections"])) == (80, 48, len(result))
    assert result._repr_png_().startswith(b"\x89PNG")
    assert "data:image/jpeg;base64," in detector(image)._repr_html_()
    with raises(DataError, "drawn.gif"):
        result.save(tmp_path / "drawn.gif")


def test_supervisions_detections(
    detector: lookonce.LoadedDetector, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its constructor's arguments, as its documentation names them."""
    (result,) = detector(image)
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    theirs = result.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, result.boxes_xyxy)
    assert theirs.data["class_name"].tolist() == result.names
    monkeypatch.setitem(sys.modules, "supervision", None)
    with raises(lookonce.LookonceError, "supervision"):
        result.to_supervision()


def test_the_files_of_the_command_line_where_a_folder_is_given(
    detector: lookonce.LoadedDetector, folder: Path, tmp_path: Path
) -> None:
    results = detector.predict(str(folder), output=str(tmp_path / "drawn"))
    assert {path.name for path in results.output.iterdir()} == {"a.png", "b.png", "detections.json", "results.json"}
    assert len(list(results)) == 2


def test_an_image_that_cannot_be_read(detector: lookonce.LoadedDetector, folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    results = detector.predict(folder)
    assert [one.name for one in results] == [str(folder / "a.png"), str(folder / "b.png")]
    assert list(results.failed) == [str(folder / "broken.png")]
    with raises(DataError, "broken.png"):
        detector.predict(folder / "broken.png")


def test_detect_takes_one_image_a_list_or_a_batch(detector: lookonce.LoadedDetector, image: np.ndarray) -> None:
    (expected,) = detector.detect([image])
    for images in (image, image[None], (image,), iter([image]), deque([image])):
        (found,) = detector.detect(images)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_the_size_of_the_input_is_chosen_at_loading_or_for_a_call(
    detector: lookonce.LoadedDetector, weights: Path, image: np.ndarray
) -> None:
    other = lookonce.load(weights, device="cpu", image_size=(64, 96))
    assert (detector.record.image_size, other.record.image_size) == ((64, 64), (64, 96))
    assert str(other(image)) != str(detector(image))
    for options in ({"image_size": (64, 96)}, {"imgsz": "64x96"}):
        assert str(detector.predict(image, **options)) == str(other(image))
    with raises(SettingsError, setting="image_size", value=100):
        lookonce.load(weights, image_size=100)


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.5, "0.5"])
def test_a_threshold_is_a_number_from_0_to_1(
    threshold: Any, detector: lookonce.LoadedDetector, image: np.ndarray
) -> None:
    for use in (detector.predict, lambda source, threshold: detector.detect([source], threshold=threshold)):
        with raises(SettingsError, "threshold") as caught:
            use(image, threshold=threshold)
        assert caught.value.setting == "threshold"


def test_threads_share_a_detector(detector: lookonce.LoadedDetector, image: np.ndarray) -> None:
    (expected,) = detector.detect([image])
    with ThreadPoolExecutor(4) as pool:
        for (result,) in pool.map(detector, [image] * 8):
            np.testing.assert_array_equal(result.scores, expected.scores)


def test_a_fork_uses_its_parents_detector(weights: Path, image: np.ndarray) -> None:
    """Exported files: tests/exporters/test_formats.py."""
    detector = lookonce.load(weights, device="cpu")
    torch.set_num_threads(2)  # the fork has one of them
    (expected,) = detector.detect([image])
    (found,) = in_a_fork(lambda: detector.detect([image]))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert in_a_fork(lambda: str(detector(image))) == str(detector(image))
    assert in_a_fork(lambda: str(lookonce.load(weights, device="cpu")(image))) == str(detector(image))


def test_paths_may_be_text_in_every_verb(weights: Path, folder: Path, tmp_path: Path) -> None:
    predicted = lookonce.predict(str(folder), weights=str(weights), output=str(tmp_path / "out"), device="cpu")
    assert predicted.output == tmp_path / "out"
    assert lookonce.convert(str(weights), to="darknet", output=str(tmp_path / "files")) is not None
    assert (tmp_path / "files").is_dir()


@pytest.mark.parametrize(
    "option", [{"device": "cuda"}, {"devices": 2}, {"num_gpus": 2}, {"part": "1/2"}, {"more": ["b"]}]
)
def test_what_is_chosen_at_loading_is_told(
    option: dict[str, Any], detector: lookonce.LoadedDetector, image: np.ndarray
) -> None:
    with raises(SettingsError, value=next(iter(option.values()))):
        detector.predict(image, **option)


def test_an_unknown_option_of_predict_is_named(detector: lookonce.LoadedDetector, image: np.ndarray) -> None:
    with raises(SettingsError, "mean threshold?", setting="treshold"):
        detector.predict(image, treshold=0.1)
