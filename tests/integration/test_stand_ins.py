"""Files that stand for others, where weights, exported models, annotations or images are expected."""

from collections.abc import Callable
from pathlib import Path

import pytest
from raised import raises

from lookonce.data.images import read_image
from lookonce.data.source import open_data
from lookonce.errors import LookonceError
from lookonce.runtimes.registry import load_runtime
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import read_foreign

STAND_INS = {
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "HTML page": b"\n<!DOCTYPE html>\n<html><title>404</title></html>",
    "0 bytes": b"",
}
DOORS: dict[str, Callable[[Path], object]] = {
    "weights": lambda path: read_foreign([path], ReadOptions()),
    "exported": load_runtime,
    "data": lambda path: open_data(path).split("train"),
    "image": read_image,
}


@pytest.mark.parametrize(
    ("door", "suffixes"),
    [
        ("weights", (".cfg", ".weights", ".ckpt", ".pt")),
        ("exported", (".onnx", ".weights")),
        ("data", (".json", ".yaml", ".csv", ".xml", ".data", ".txt")),
        ("image", (".jpg", ".png")),
    ],
)
@pytest.mark.parametrize("kind", STAND_INS)
def test_a_file_that_stands_for_another_is_called_that(
    tmp_path: Path, door: str, suffixes: tuple[str, ...], kind: str
) -> None:
    for suffix in suffixes:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(STAND_INS[kind])
        with raises(LookonceError, kind, path=path.name):
            DOORS[door](path)


def test_annotations_of_a_folder_are_called_that_too(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_bytes(STAND_INS["Git LFS pointer"])
    with raises(LookonceError, "git lfs pull", path="instances_train.json"):
        open_data(tmp_path, needs_images=False).split("train")
