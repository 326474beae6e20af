"""What Python programs give to verbs: the types of the parameters, or an error that names the option."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pytest
import torch
from raised import raises

import lookonce
from lookonce.errors import SettingsError
from lookonce.python_values import takes_python_values
from lookonce.request import Listed, old_names, takes


@old_names(mood="manner")
@dataclass(frozen=True, kw_only=True)
class Request:
    number: int | None = None
    threshold: float = 0.5
    fast: bool = False
    manner: Literal["loud", "quiet"] = "loud"
    image_size: int | Listed = 416
    classes: Listed | None = None
    title: str = ""
    output: Path | None = None
    data: str | Path = ""
    iou: tuple[float, ...] = ()
    files: list[Path] | None = None


@takes_python_values
@takes(Request)
def verb(request: Request) -> Request:
    return request


@pytest.mark.parametrize(
    ("option", "given", "taken"),
    [
        ("number", np.int64(3), 3),
        ("number", None, None),
        ("threshold", 1, 1),
        ("threshold", np.float32(0.5), 0.5),
        ("threshold", torch.tensor(0.25), 0.25),
        ("fast", np.bool_(True), True),
        ("image_size", (416, 224), "416,224"),
        ("image_size", "416x224", "416x224"),
        ("image_size", 320, 320),
        ("classes", ["dog", 2], "dog,2"),
        ("classes", 2, "2"),
        ("classes", "dog,cat", "dog,cat"),
        ("title", np.str_("a"), "a"),
        ("title", "", ""),
        ("title", PurePosixPath("a/b"), "a/b"),
        ("output", "out", Path("out")),
        ("data", "s3://bucket/key", "s3://bucket/key"),
        ("data", Path("data"), Path("data")),
        ("iou", 0.3, [0.3]),
        ("iou", (0.3, 1), [0.3, 1]),
        ("files", "a.onnx", [Path("a.onnx")]),
        ("files", ["a.onnx", Path("b.onnx")], [Path("a.onnx"), Path("b.onnx")]),
    ],
)
def test_values_become_those_of_the_types(option: str, given: Any, taken: Any) -> None:
    found = getattr(verb(**{option: given}), option)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("number", "3"),
        ("number", 2.5),
        ("number", True),
        ("threshold", "0.5"),
        ("threshold", None),
        ("threshold", [0.5]),
        ("fast", "yes"),
        ("fast", 1),
        ("title", True),
        ("title", ["a"]),
        ("title", np.zeros(9)),
        ("output", 5),
        ("output", b"out"),
        ("output", ""),
        ("data", ""),
        ("classes", [None]),
        ("iou", ["a"]),
        ("files", [5]),
    ],
)
def test_another_type_is_told_with_the_option(option: str, given: Any) -> None:
    with raises(SettingsError, setting=option):
        verb(**{option: given})


def test_a_value_in_a_list_is_told_as_one() -> None:
    with raises(SettingsError, "['dog'] in a list", setting="classes", value=["dog"]):
        verb(classes=["cat", ["dog"]])


def test_an_array_is_told_by_its_type() -> None:
    with raises(SettingsError, "ndarray", setting="title"):
        verb(title=np.zeros((1000, 3)))


def test_text_that_names_a_place_is_told_as_one() -> None:
    with raises(SettingsError, "a path or", setting="data"):
        verb(data=["images/"])


def test_images_in_memory_are_for_a_loaded_detector() -> None:
    for images in ([np.zeros((32, 32, 3), np.uint8)], ["a.jpg", "b.jpg"], np.zeros((32, 32, 3), np.uint8)):
        with raises(SettingsError, "lookonce.load(", setting="source"):
            lookonce.predict(images)  # type: ignore[arg-type]


@pytest.mark.parametrize(("word", "way"), [("stream", "model.stream"), ("verbose", "logger"), ("half", "export")])
def test_a_word_of_other_packages_leads_to_what_does_the_same(word: str, way: str) -> None:
    with raises(SettingsError, way):
        lookonce.predict("a.jpg", **{word: True})


def test_a_setting_is_told_as_any_other_option() -> None:
    with pytest.raises(SettingsError, match=r"^epochs: many; .*at least 0$"):
        lookonce.config(epochs="many")
    with pytest.raises(SettingsError, match=r"^patience: many; .*, in epochs$"):
        lookonce.config(patience="many")


def test_options_have_their_other_names() -> None:
    assert verb(conf=0.25).threshold == 0.25
    assert verb(imgsz=320).image_size == 320
    assert verb(mood="quiet").manner == "quiet"
    for twice in ({"conf": 0.1, "threshold": 0.2}, {"mood": "quiet", "manner": "loud"}):
        with raises(SettingsError, setting=list(twice)[1]):
            verb(**twice)
    with raises(SettingsError, "conf", "confidence", setting="threshold"):
        verb(conf=0.1, confidence=0.2)
    with raises(SettingsError, "threshold?", setting="treshold"):
        verb(treshold=0.1)


@takes_python_values
def positional(source: str, *more: Path, threshold: float = 0.5) -> tuple[Any, ...]:
    return (source, *more, threshold)


def test_positional_values_have_the_names_of_their_parameters() -> None:
    assert positional(PurePosixPath("a"), "b", Path("c")) == ("a", Path("b"), Path("c"), 0.5)
    with raises(SettingsError, setting="more", value=5):
        positional("a", "b", 5)
    with raises(SettingsError, setting="source"):
        positional()
    with raises(SettingsError, value="a"):
        verb("a")  # type: ignore[call-arg]


def test_settings_are_read_elsewhere() -> None:
    @takes_python_values
    def train(data: str, **settings: Any) -> dict[str, Any]:
        return {"data": data, **settings}

    assert train("d", anything=[1], conf=2) == {"data": "d", "anything": [1], "conf": 2}
