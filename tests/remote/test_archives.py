import stat
import zipfile
from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import DataError
from lookonce.remote.archives import unzip
from lookonce.storage import StorageError


def packed(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.txt", b"good")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    archive = packed(tmp_path / "data.zip", ("a/ü.txt", b"1"), ("a/b/c.txt", b"2"), ("empty/", b""))
    unzip(archive, tmp_path / "data")
    assert everything_in(tmp_path / "data") == {"good.txt", "a", "a/ü.txt", "a/b", "a/b/c.txt", "empty"}
    assert (tmp_path / "data" / "a" / "b" / "c.txt").read_bytes() == b"2"


@pytest.mark.parametrize(
    "name", ["../outside.txt", "a/../../outside.txt", "/outside.txt", "C:/outside.txt", "..\\outside.txt"]
)
def test_names_that_lead_outside_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "bad.zip", (name, b"x"))
    with raises(DataError, repr(name), path=archive):
        unzip(archive, tmp_path / "deep" / "data")
    assert everything_in(tmp_path) == {"bad.zip"}


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = packed(tmp_path / "bad.zip", (link, b"/etc/passwd"))
    with raises(DataError, "'link'", path=archive):
        unzip(archive, tmp_path / "data")
    assert everything_in(tmp_path) == {"bad.zip"}


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "bomb.zip", ("zeros", bytes(20 << 20)))
    with raises(DataError, "'zeros'", "20,971,520", path=archive):
        unzip(archive, tmp_path / "data")
    assert everything_in(tmp_path) == {"bomb.zip"}


def test_a_bomb_that_lies_about_its_size_does_not_grow_beyond_what_it_says(tmp_path: Path) -> None:
    archive = packed(tmp_path / "bomb.zip", ("zeros", bytes(20 << 20)))
    content = archive.read_bytes()
    archive.write_bytes(content.replace((20 << 20).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little")))
    with raises(DataError, "'zeros'", path=archive):
        unzip(archive, tmp_path / "data")
    assert sum(path.stat().st_size for path in tmp_path.rglob("zeros")) <= 1 << 10


def test_a_bomb_of_many_files_or_of_more_than_the_disk_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "bomb.zip", *((f"{number}.txt", bytes(1 << 20)) for number in range(5)))
    with monkeypatch.context() as patched:
        patched.setattr("lookonce.remote.archives.MAX_FILES", 5)
        with raises(DataError, "6", path=archive):
            unzip(archive, tmp_path / "data")
    monkeypatch.setattr("lookonce.storage._free_mib", lambda _: 3)
    with raises(StorageError, "3 MiB", "6 MiB", "bomb.zip"):
        unzip(archive, tmp_path / "data")
    assert everything_in(tmp_path) == {"bomb.zip"}


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "secret.zip")
    content = bytearray(archive.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    archive.write_bytes(bytes(content))
    with raises(DataError, "'good.txt'", path=archive):
        unzip(archive, tmp_path / "data")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    archive = packed(tmp_path / "data.zip", ("a.bin", b"some content that does not shrink 0123456789"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"a.bin") + 12] ^= 1
    archive.write_bytes(bytes(content))
    with raises(DataError, "'a.bin'", path=archive):
        unzip(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("nothing")
    with raises(DataError, path="x.zip"):
        unzip(tmp_path / "x.zip", tmp_path / "data")


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with raises(DataError, "x.zip", path=tmp_path / "data"):
        unzip(packed(tmp_path / "x.zip"), tmp_path / "data")
