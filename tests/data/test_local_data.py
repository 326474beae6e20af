import hashlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raised import raises

from lookonce.data.augment import Augmentation
from lookonce.data.dataset import data_hash
from lookonce.data.images import image_size_wh, read_image
from lookonce.data.loader import Loader
from lookonce.data.local_data import local_data
from lookonce.data.shards import REMOTE, open_shards, write_archives
from lookonce.data.source import open_data
from lookonce.data.stored import MARKER
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.data.write import write_data
from lookonce.errors import DataError
from lookonce.remote.local_copy import local_file
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_in import BROUGHT
from lookonce.settings.record import Preprocessing


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


def test_images_beside_coco_annotations_may_stay_in_object_storage(loose: Path, s3: Any, tmp_path: Path) -> None:
    put(loose, "s3://bucket/data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        files = open_data(loose).split("val")
        (annotations,) = loose.glob("annotations/*val*.json")
        images = Path("s3://bucket/data") / files.image_paths[0].parent.relative_to(loose)
        objects = open_data("s3://bucket/data", streamed=True).split("val")
        named = open_data(annotations, images, streamed=True).split("val")
        assert data_hash(objects) == data_hash(named) == data_hash(files)
        for one, *others in zip(files.image_paths, objects.image_paths, named.image_paths, strict=True):
            for other in others:
                assert not other.exists()
                assert image_size_wh(other) == image_size_wh(one)
                np.testing.assert_array_equal(read_image(other), read_image(one))
        with raises(DataError, path=objects.image_paths[0].with_name("no.jpg")):
            read_image(objects.image_paths[0].with_name("no.jpg"))
        ObjectStore().delete(ObjectStore().entries(Location.parse(str(images))))
        with raises(DataError, path=objects.image_paths[0]):
            read_image(objects.image_paths[0])


@pytest.mark.parametrize("inside", ["", "coco2017"])
def test_a_zip_is_unpacked_here_or_from_there(loose: Path, s3: Any, tmp_path: Path, inside: str) -> None:
    content = tmp_path / "content" / inside
    shutil.copytree(loose, content, dirs_exist_ok=True)
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "content"))
    ObjectStore().upload(archive, Location.parse("s3://bucket/data.zip"))
    for place in (archive, "s3://bucket/data.zip"):
        cache = tmp_path / f"cache-{Path(place).parent.name}"
        assert open_data(local_data(place, cache)).splits == ("train", "val")


def test_the_images_of_shards_stay_there_and_are_the_same(loose: Path, s3: Any, tmp_path: Path) -> None:
    source = open_data(loose)
    write_data([source.split("train"), source.split("val")], tmp_path / "shards", to="shards")
    put(tmp_path / "shards", "s3://bucket/shards")
    folder = local_data("s3://bucket/shards", tmp_path / "cache")
    assert not list(folder.rglob("*.tar"))
    files, objects = source.split("train"), open_data(folder).split("train")
    assert data_hash(files) == data_hash(objects)
    for one, other in zip(files.image_paths, objects.image_paths, strict=True):
        np.testing.assert_array_equal(read_image(one), read_image(other))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20_000


def test_a_folder_from_elsewhere_reaches_no_object_storage(
    loose: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_data(loose)
    write_data([source.split("train"), source.split("val")], tmp_path / "shards", to="shards")
    put(tmp_path / "shards", "s3://bucket/shards")
    put(loose, "s3://bucket/data")
    folders = {
        "s3://bucket/shards": local_data("s3://bucket/shards", tmp_path / "cache"),
        "s3://bucket/data": local_data("s3://bucket/data", tmp_path / "cache", streamed=True),
    }
    monkeypatch.delenv(BROUGHT)
    open_shards.cache_clear()
    s3.requests.clear()
    for address, folder in folders.items():
        with raises(DataError, address, path=folder):
            open_data(folder).split("val")
    (tmp_path / "shards" / REMOTE).write_text("s3://bucket/shards")  # its archives are here
    assert data_hash(open_data(tmp_path / "shards").split("val")) == data_hash(source.split("val"))
    read_image(open_data(tmp_path / "shards").split("val").image_paths[0])
    assert not s3.requests
    for address, folder in folders.items():
        assert local_data(address, tmp_path / "cache", streamed=True) == folder
        open_shards.cache_clear()
        assert data_hash(open_data(folder).split("val")) == data_hash(source.split("val"))


def test_data_that_eval_has_left_in_object_storage_can_be_trained_on_later(
    loose: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(loose, "s3://bucket/data")
    local_data("s3://bucket/data", tmp_path / "cache", streamed=True)
    monkeypatch.delenv(BROUGHT)
    whole = local_data("s3://bucket/data", tmp_path / "cache")
    assert data_hash(open_data(whole).split("train")) == data_hash(open_data(loose).split("train"))


def test_objects_of_a_stranger_lead_to_no_other_object_storage(loose: Path, s3: Any, tmp_path: Path) -> None:
    put(loose, "s3://bucket/data")
    ObjectStore().put_text(
        '{"location": "s3://private/data", "names": ["a.jpg"]}', Location.parse(f"s3://bucket/data/{MARKER}")
    )
    folder = local_data("s3://bucket/data", tmp_path / "cache")
    with raises(DataError, "s3://private/data", path=folder):
        open_data(folder).split("val")


def epoch_of(folder: Path, rank: int = 0, world_size: int = 1, start: int = 0, workers: int = 1) -> dict[int, str]:
    """Place in the epoch -> SHA-256 of the picture and the boxes that the network gets from there."""
    loader = Loader(
        open_data(folder).split("train"),
        batch_size=4,
        image_sizes=(64,),
        preprocessing=Preprocessing(),
        augment=Augmentation(mosaic=0.5),
        rank=rank,
        world_size=world_size,
        workers=workers,
    )
    return {
        int(position): hashlib.sha256(
            batch.images[row].tobytes()
            + batch.boxes_xyxy[batch.image_index == row].tobytes()
            + batch.labels[batch.image_index == row].tobytes()
        ).hexdigest()
        for batch in loader.epoch(3, start)
        for row, position in enumerate(batch.positions)
    }


def test_an_epoch_from_shards_of_objects_is_that_of_the_loose_files_whoever_reads_it(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one rank or two, with any workers, from the start or the middle of a shard; nothing twice, nothing lost."""
    loose = write_synthetic(tmp_path / "loose", train=14, val=2, options=SceneOptions(sides=(60, 90)))
    monkeypatch.setattr("lookonce.data.write.write_archives", partial(write_archives, shard_bytes=15_000))
    write_data([open_data(loose).split("train")], tmp_path / "shards", to="shards")
    assert len(list((tmp_path / "shards").glob("*.tar"))) > 2
    put(tmp_path / "shards", "s3://bucket/shards")
    shards = local_data("s3://bucket/shards", tmp_path / "cache")
    whole = epoch_of(loose)
    assert len(set(whole.values())) == len(whole) >= 12
    assert epoch_of(shards, workers=3) == whole
    first, second = (epoch_of(shards, rank, world_size=2) for rank in (0, 1))
    assert not first.keys() & second.keys()
    assert first | second == whole
    rest = epoch_of(shards, rank=1, world_size=2, start=2)
    assert rest == {position: digest for position, digest in second.items() if position >= 8}
    assert len(rest) >= 2
