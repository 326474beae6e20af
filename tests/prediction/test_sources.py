"""Which pictures a SOURCE names."""

import io
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.errors import DataError
from lookonce.prediction.sources import find_all_media, find_images, find_media
from lookonce.remote.objects import Location, ObjectStore, RemoteError


def save(path, value=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(path.suffix, np.full((4, 6, 3), value, np.uint8))
    path.write_bytes(content.tobytes())
    return path


def places(source) -> list[str]:
    return [one.place.as_posix() for one in find_images(source)]


def test_one_file(tmp_path):
    path = save(tmp_path / "straße 猫.png")
    (found,) = find_images(path)
    assert (found.path, found.name, found.place.as_posix()) == (path, str(path), "straße 猫.png")
    assert found.read().tolist() == np.full((4, 6, 3), 9).tolist()


def test_a_folder_is_searched_with_its_subfolders_in_order_of_names(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.png", "sub/deeper/b.png"):
        save(tmp_path / name)
    for name in ("notes.txt", ".hidden.png", "table.csv"):
        (tmp_path / name).write_text("")
    assert places(tmp_path) == ["a.JPG", "b.png", "sub/c.png", "sub/deeper/b.png"]


def test_what_lies_in_object_storage_goes_by_its_address(s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ObjectStore()
    for name in ("b.png", "sub ü/c.png"):
        store.upload(save(tmp_path / "here" / name), Location.parse(f"s3://bucket/street/{name}"))
    found = find_images("s3://bucket/street/")
    assert [one.name for one in found] == ["s3://bucket/street/b.png", "s3://bucket/street/sub ü/c.png"]
    assert [one.place.as_posix() for one in found] == ["b.png", "sub ü/c.png"]
    assert found[1].read().shape == (4, 6, 3)
    (alone,) = find_images("s3://bucket/street/b.png")
    assert (alone.name, alone.place.as_posix()) == ("s3://bucket/street/b.png", "b.png")
    with raises(RemoteError, path="s3://bucket/nothing"):
        find_media("s3://bucket/nothing")


def test_a_pattern_takes_what_fits(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png", "sub/a3.png"):
        save(tmp_path / name)
    assert places(f"{tmp_path}/a*.png") == ["a1.png", "a2.png"]
    assert places(f"{tmp_path}/**/a?.png") == ["a1.png", "a2.png", "a3.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    assert places(save(tmp_path / "a[1].png")) == ["a[1].png"]


def test_a_list_in_its_own_order_from_its_own_folder(tmp_path, monkeypatch):
    save(tmp_path / "set" / "b.png")
    save(tmp_path / "set" / "a.png")
    save(tmp_path / "elsewhere.png")
    listing = tmp_path / "set" / "list.txt"
    listing.write_text("b.png\n\n a.png \nelsewhere.png\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert places(listing) == ["b.png", "a.png", "elsewhere.png"]
    assert [one.read().shape for one in find_images(listing)] == [(4, 6, 3)] * 3
    listing.write_text("b.png\n\ngone.png\n", encoding="utf-8")
    with raises(DataError, "image 2 of", "list.txt", path="gone.png"):
        [*find_media(listing).entries][1].read()


def test_images_of_one_name_get_places_of_their_own(tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text(f"{save(tmp_path / 'a' / 'x.png')}\n{save(tmp_path / 'b' / 'X.png')}\n")
    assert places(listing) == ["1-x.png", "2-X.png"]


def test_several_sources_follow_each_other_and_images_of_one_name_get_places_of_their_own(tmp_path):
    single, folder = save(tmp_path / "x.png"), save(tmp_path / "street" / "deep" / "y.png").parent.parent
    together = find_all_media([str(single), str(folder)])
    assert [entry.place.as_posix() for entry in together.known] == ["x.png", "deep/y.png"]
    assert (together.total, together.is_finite) == (2, True)
    twice = find_all_media([str(single), str(tmp_path / "*.png"), str(folder)])
    assert [entry.place.as_posix() for entry in twice.known] == ["1-x.png", "2-x.png", "deep/3-y.png"]
    (listing := tmp_path / "list.txt").write_text("x.png\nstreet/deep/../../x.png\n")
    listed = find_all_media([str(listing), str(folder)])
    assert [entry.place.as_posix() for entry in listed.known] == ["1-x.png", "2-x.png", "deep/3-y.png"]


def test_a_video_that_cannot_be_opened_ends_the_command_only_if_it_is_alone(tmp_path):
    image, video = save(tmp_path / "x.png"), tmp_path / "clip.mp4"
    video.write_bytes(b"none")
    first, second = find_all_media([str(image), str(video)]).known
    first.read()
    for read in (second.read, lambda: find_media(video)):
        with raises(DataError, path=video):
            read()


def test_a_stream_is_no_source_beside_others(tmp_path):
    with raises(DataError, path="-"):
        find_all_media([str(save(tmp_path / "x.png")), "-"])


def test_videos_that_differ_in_their_suffix_get_places_of_their_own(tmp_path):
    """The drawings of both would be clip.mp4."""
    for name in ("clip.avi", "clip.mkv"):
        (tmp_path / name).write_bytes(b"no video")
    assert [entry.place.name for entry in find_media(tmp_path).known] == ["1-clip.avi", "2-clip.mkv"]


def test_standard_input_is_one_image(monkeypatch):
    _, content = cv2.imencode(".png", np.full((4, 6, 3), 9, np.uint8))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content.tobytes())))
    (found,) = find_images("-")
    assert found.read().shape == (4, 6, 3)


def test_an_empty_video_is_named_as_an_empty_image_is(tmp_path):
    (tmp_path / "a.mkv").touch()
    with raises(DataError, "is empty", path=tmp_path / "a.mkv"):
        find_media(str(tmp_path / "a.mkv"))


def test_an_empty_standard_input_is_an_image_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    (found,) = find_media("-").entries
    with raises(DataError, "before the pipe", path="standard input"):
        found.read()


def test_images_of_a_format_that_is_not_read_are_counted(tmp_path, caplog):
    for name in ("a.HEIC", "sub/b.heic", "c.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with raises(DataError, "3 images", path=tmp_path):
        find_media(tmp_path)
    save(tmp_path / "d.png")
    assert places(tmp_path) == ["d.png"]
    assert "3 images" in caplog.text
    assert ".dng, .heic" in caplog.text


def test_a_bad_image_is_named_when_it_is_read(tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"not a picture")
    (found,) = find_images(path)
    with raises(DataError, path=path):
        found.read()


@pytest.mark.parametrize(
    ("source", "told"),
    [("nowhere.jpg", "no such"), ("*.jpg", "pattern"), ("empty", ".png"), ("empty.txt", "empty;"), ("a" * 300, "long")],
)
def test_a_source_without_images_is_an_error(tmp_path, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    with raises(DataError, told, path=source):
        find_images(source)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_source_is_not_the_working_folder(text):
    with raises(DataError, "source"):
        find_media(text)
