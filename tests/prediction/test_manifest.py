"""Which images the rows of a manifest are, whatever its format, and that rows are read one by one."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.data.shards import INDEX, write_archives, write_index
from lookonce.errors import DataError
from lookonce.prediction.manifest import open_manifest
from lookonce.prediction.media import ImageSource
from lookonce.prediction.sources import find_media, images_of
from lookonce.remote.objects import Location, ObjectStore, RemoteError


def png(value: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((4, 6, 3), value, np.uint8))[1].tobytes())


def rows_of(path: Path) -> list[tuple[int, str]]:
    """All rows; any division into two reads the same."""
    manifest = open_manifest(str(path))
    rows = list(manifest.rows(0, manifest.num_rows))
    for cut in range(manifest.num_rows + 1):
        assert [*manifest.rows(0, cut), *manifest.rows(cut, manifest.num_rows)] == rows
    return rows


def test_a_list_has_a_row_per_line_that_is_not_blank(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa.jpg\r\n\n s3://bucket/ü 猫.png\t\n  \nhttps://x/c.jpg".encode())
    assert rows_of(path) == [(1, "a.jpg"), (2, "s3://bucket/ü 猫.png"), (3, "https://x/c.jpg")]


def test_rows_are_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"s3://bucket/{number:060}.jpg\n" for number in range(20_000)))
    tracemalloc.start()
    found = [one.image_id for one in images_of(open_manifest(str(path)), range(19_990, 20_000))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == list(range(19_991, 20_001))
    assert peak < path.stat().st_size / 2


def test_an_inventory_of_s3_lists_the_images_of_a_bucket(tmp_path: Path) -> None:
    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size"
    files = [{"key": f"inventory/data/{name}", "size": 1, "MD5checksum": ""} for name in ("1.csv.gz", "2.csv")]
    content = {"sourceBucket": "photos", "destinationBucket": "arn:aws:s3:::lists", "fileFormat": "CSV"}
    path = tmp_path / "2026-11-29T01-00Z" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**content, "fileSchema": schema, "files": files}))
    (tmp_path / "data").mkdir()
    first = '"photos","a+b/%C3%BC%2B1.jpg","v","true","false","9"\n"photos","notes.txt","v","true","false","9"\n'
    (tmp_path / "data" / "1.csv.gz").write_bytes(gzip.compress(first.encode()))
    last = '"photos","old.png","v","false","false","9"\n"photos","gone.png","w","true","true",""\n'
    last += '"photos","c.PNG","","","",""\n'
    (tmp_path / "data" / "2.csv").write_text(last)
    assert rows_of(path) == [(1, "s3://photos/a b/ü+1.jpg"), (5, "s3://photos/c.PNG")]


def test_a_parquet_file_is_read_by_groups_of_rows(tmp_path: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    paths = [f"{number}.jpg" for number in range(7)]
    table = arrow.table({"note": ["x"] * 7, "url": paths, "size": list(range(7))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    assert rows_of(tmp_path / "a.parquet") == list(enumerate(paths, 1))
    parquet.write_table(arrow.table({"one": paths, "other": paths}), tmp_path / "b.parquet")
    with raises(DataError, path=tmp_path / "b.parquet"):
        rows_of(tmp_path / "b.parquet")
    keys = {"bucket": ["photos"] * 3, "key": ["a+b.jpg", "c.jpg", "d.jpg"], "is_latest": [True, False, True]}
    parquet.write_table(arrow.table(keys), tmp_path / "keys.parquet")
    content = {"sourceBucket": "photos", "destinationBucket": "lists", "fileFormat": "Parquet", "fileSchema": "message"}
    (tmp_path / "manifest.json").write_text(json.dumps({**content, "files": [{"key": "x/keys.parquet"}]}))
    assert rows_of(tmp_path / "manifest.json") == [(1, "s3://photos/a+b.jpg"), (3, "s3://photos/d.jpg")]


def shards(folder: Path) -> Path:
    names = ["a.png", "b.png"]
    for value, name in enumerate(names):
        (folder / name).write_bytes(png(value))
    empty = np.zeros((0, 4))
    dataset = Dataset(
        split="train",
        image_paths=[folder / name for name in names],
        image_ids=np.array([1, 2]),
        image_sizes_wh=np.array([[6, 4], [6, 4]], np.int32),
        box_offsets=np.zeros(3, np.int64),
        boxes_xyxy=empty,
        labels=np.zeros(0, np.int64),
        crowd=np.zeros(0, bool),
        areas=np.zeros(0),
        class_names=("cat",),
        category_ids=(1,),
    )
    (folder / "shards").mkdir()
    write_index(folder / "shards", write_archives(dataset, names, folder / "shards"))
    return folder / "shards"


def read(sources: Any) -> list[tuple[str, int]]:
    return [(one.name, int(one.read()[0, 0, 0])) for one in sources if isinstance(one, ImageSource)]


def test_the_index_of_shards_is_a_manifest_here_and_in_object_storage(
    s3: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    here = shards(tmp_path)
    expected = [(f"train-000000.tar/{name}", value) for value, name in enumerate(("a.png", "b.png"))]
    assert read(find_media(here / INDEX).images()) == [(f"{here}/{name}", value) for name, value in expected]
    for file in here.iterdir():
        ObjectStore().upload(file, Location.parse("s3://bucket/set") / file.name)
    found = read(find_media(f"s3://bucket/set/{INDEX}").images())
    assert found == [(f"s3://bucket/set/{name}", value) for name, value in expected]
    assert not list(tmp_path.glob(".lookonce-cache/**/*.tar"))


def test_a_manifest_in_object_storage_names_its_neighbours_and_nothing_is_written(
    s3: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    store = ObjectStore()
    for value, key in enumerate(("set/a.png", "set/sub/a.png", "other.png")):
        store._put(png(value), Location.parse(f"s3://bucket/{key}"))
    store.put_text("a.png\nsub/a.png\ns3://bucket/other.png\nno.png\n", Location.parse("s3://bucket/set/list.txt"))
    media = find_media("s3://bucket/set/list.txt")
    images = list(media.images())
    assert (media.total, [one.image_id for one in images]) == (4, [1, 2, 3, 4])
    assert [one.place.name for one in images] == ["1-a.png", "2-a.png", "3-other.png", "4-no.png"]
    addresses = ["s3://bucket/set/a.png", "s3://bucket/set/sub/a.png", "s3://bucket/other.png"]
    assert read(images[:3]) == list(zip(addresses, range(3), strict=True))
    with raises(DataError, path="s3://bucket/set/no.png"):
        images[3].read()
    cached = {path.name for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert cached == {"list.txt"}


def test_one_object_that_is_gone_or_denied_is_not_the_end_and_a_bucket_is(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("s3://bucket/no.png\ns3://nowhere/a.png\n")
    here, nowhere = find_media(tmp_path / "list.txt").images()
    with raises(DataError, path="s3://bucket/no.png"):
        here.read()
    s3.faults.append((403, "AccessDenied"))
    with raises(DataError, path="s3://bucket/no.png"):  # the bucket can be listed
        here.read()
    s3.faults += [(403, "AccessDenied"), (403, "AccessDenied")]
    with raises(RemoteError, path="s3://bucket/no.png"):
        here.read()
    with raises(RemoteError, path="s3://nowhere/a.png"):
        nowhere.read()


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.txt", "\n \n"), ("manifest.json", "{}"), ("a.parquet", "PAR1"), ("picture.png", "x"), ("no.txt", None)],
)
def test_what_is_no_manifest_is_an_error(name: str, content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with raises(DataError, path=str(tmp_path / name)):
        open_manifest(str(tmp_path / name))
