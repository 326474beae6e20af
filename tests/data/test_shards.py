import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.dataset import data_hash
from lookonce.data.images import image_size_wh, read_image
from lookonce.data.shards import INDEX, write_archives
from lookonce.data.source import open_data
from lookonce.data.stored import MARKER
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.data.write import write_data
from lookonce.errors import DataError


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(
        tmp_path_factory.mktemp("loose") / "data", train=7, val=3, options=SceneOptions(sides=(60, 90))
    )


@pytest.fixture(scope="module")
def packed(loose: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = open_data(loose)
    folder = tmp_path_factory.mktemp("packed") / "däta"
    write_data([source.split("train"), source.split("val")], folder, to="shards")
    return folder


def test_shards_read_as_the_loose_files_they_were_made_from(loose: Path, packed: Path) -> None:
    assert open_data(packed).format == "shards"
    for split in ("train", "val"):
        files, shards = open_data(loose).split(split), open_data(packed).split(split)
        assert data_hash(files) == data_hash(shards)
        for one, other in zip(files.image_paths, shards.image_paths, strict=True):
            assert image_size_wh(one) == image_size_wh(other)
            np.testing.assert_array_equal(read_image(one), read_image(other))


def test_an_archive_is_what_readers_of_the_convention_expect(loose: Path, packed: Path) -> None:
    dataset = open_data(loose).split("val")
    with tarfile.open(packed / "val-000000.tar") as tar:
        names = tar.getnames()
        boxes = json.load(tar.extractfile(names[1]) or pytest.fail("no file"))
    assert names[:2] == ["000000000001.jpg", "000000000001.json"]
    assert boxes["boxes_xyxy"] == dataset.boxes_xyxy[dataset.rows(0)].tolist()
    assert boxes["classes"] == [dataset.class_names[label] for label in dataset.labels[dataset.rows(0)]]


def test_archives_end_when_they_are_full_and_are_the_same_bytes_again(loose: Path, tmp_path: Path) -> None:
    dataset = open_data(loose).split("train")
    names = [path.name for path in dataset.image_paths]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        places = write_archives(dataset, names, folder, shard_bytes=10_000)
    assert len(places) > 1
    assert [name for images in places.values() for name in images] == names
    for archive in places:
        assert (tmp_path / "a" / archive).read_bytes() == (tmp_path / "b" / archive).read_bytes()


def test_shards_become_loose_files_again(loose: Path, packed: Path, tmp_path: Path) -> None:
    write_data([open_data(packed).split("val")], tmp_path / "voc", to="voc")
    files, again = open_data(loose).split("val"), open_data(tmp_path / "voc").split("val")
    np.testing.assert_array_equal(files.boxes_xyxy, again.boxes_xyxy)
    assert files.image_paths[0].read_bytes() == again.image_paths[0].read_bytes()


def copy_of(folder: Path, target: Path) -> Path:
    import shutil

    shutil.copytree(folder, target)
    return target


def test_an_archive_that_is_missing_or_cut_is_named(packed: Path, tmp_path: Path) -> None:
    cut = copy_of(packed, tmp_path / "cut")
    (cut / "val-000000.tar").write_bytes((cut / "val-000000.tar").read_bytes()[:2000])
    with raises(DataError, "val-000000.tar ", path="val-000000.tar/000000000001.jpg"):
        read_image(open_data(cut).split("val").image_paths[0])
    missing = copy_of(packed, tmp_path / "missing")
    (missing / "val-000000.tar").unlink()
    with raises(DataError, path="val-000000.tar/000000000001.jpg", check="missing-image"):
        open_data(missing).split("val")


def test_an_index_that_is_no_index_is_named(packed: Path, tmp_path: Path) -> None:
    folder = copy_of(packed, tmp_path / "data")
    (folder / INDEX).write_text('{"archives": [1]}')
    with raises(DataError, path="shards.json"):
        open_data(folder).split("val")


@pytest.mark.parametrize("place", ["[-1, 10]", "[0, -1]", "[1e400, 10]", "[0, 1e30]", "[0]", "3"])
def test_a_place_that_is_no_range_of_bytes_makes_no_index(tmp_path: Path, place: str) -> None:
    (tmp_path / INDEX).write_text(f'{{"archives": {{"a.tar": {{"a.jpg": {place}}}}}}}')
    with raises(DataError, path="shards.json"):
        read_image(tmp_path / "a.tar" / "a.jpg")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"location": "s3://b/k", "names": [1]}', '{"location": "k", "names": []}']
)
def test_a_marker_of_stored_images_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with raises(DataError, path=MARKER):
        open_data(tmp_path)
    with raises(DataError, path=MARKER):
        read_image(tmp_path / "a.jpg")
