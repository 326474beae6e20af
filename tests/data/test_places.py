import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.data.dataset import data_hash
from lookonce.data.pictures import read_picture
from lookonce.data.places import local_data
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.data.write import write_data
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.places import local_file


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(
        tmp_path_factory.mktemp("loose") / "data", train=4, val=2, options=SceneOptions(sides=(60, 90))
    )


def put(folder: Path, url: str) -> None:
    store = ObjectStore()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.upload(path, Location.parse(url) / path.relative_to(folder).as_posix())


def test_what_is_here_stays_where_it_is(loose: Path) -> None:
    assert local_data(loose) == loose
    assert local_file("weights.onnx") == Path("weights.onnx")


def test_a_data_set_of_objects_is_fetched_once(loose: Path, s3: Any, tmp_path: Path) -> None:
    put(loose, "s3://bucket/data")
    folder = local_data(Path("s3://bucket/data"), tmp_path / "cache")
    assert data_hash(open_data(folder).split("train")) == data_hash(open_data(loose).split("train"))
    s3.requests.clear()
    assert local_data("obs://bucket/data", tmp_path / "cache") == folder
    assert not [request for request in s3.requests if request.startswith("GET /bucket/data/")]


@pytest.mark.parametrize("inside", ["", "coco2017"])
def test_a_zip_is_unpacked_here_or_from_there(loose: Path, s3: Any, tmp_path: Path, inside: str) -> None:
    content = tmp_path / "content" / inside
    shutil.copytree(loose, content, dirs_exist_ok=True)
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "content"))
    ObjectStore().upload(archive, Location.parse("s3://bucket/data.zip"))
    for place in (archive, "s3://bucket/data.zip"):
        cache = tmp_path / f"cache-{Path(place).parent.name}"
        assert open_data(local_data(place, cache)).splits == ("train", "val")


def test_the_pictures_of_shards_stay_there_and_are_the_same(loose: Path, s3: Any, tmp_path: Path) -> None:
    source = open_data(loose)
    write_data([source.split("train"), source.split("val")], tmp_path / "shards", to="shards")
    put(tmp_path / "shards", "s3://bucket/shards")
    folder = local_data("s3://bucket/shards", tmp_path / "cache")
    assert not list(folder.rglob("*.tar"))
    files, objects = source.split("train"), open_data(folder).split("train")
    assert data_hash(files) == data_hash(objects)
    for one, other in zip(files.image_paths, objects.image_paths, strict=True):
        np.testing.assert_array_equal(read_picture(one), read_picture(other))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20_000
