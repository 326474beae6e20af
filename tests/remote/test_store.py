"""moxing's place is taken by a module of the tests that keeps the objects of OBS in a folder."""

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from raised import raises

from lookonce.remote.objects import Location, ObjectStore, RemoteError, UnreadableObject
from lookonce.remote.stage_in import stage_in
from lookonce.remote.stage_out import StageOut, fetch_run
from lookonce.remote.store import MoxingStore, open_store
from lookonce.storage import atomic_folder


def stand_in(buckets: Path) -> ModuleType:
    """What of moxing.file is used, as Huawei's documentation describes it."""

    def here(url: str) -> Path:
        return buckets / url.removeprefix("obs://") if url.startswith("obs://") else Path(url)

    def made(url: str) -> Path:
        here(url).parent.mkdir(parents=True, exist_ok=True)
        return here(url)

    def stat(url: str) -> SimpleNamespace:
        found = here(url).stat()
        return SimpleNamespace(length=found.st_size, mtime_nsec=found.st_mtime_ns, is_directory=here(url).is_dir())

    def list_directory(url: str, *, recursive: bool) -> list[str]:
        assert recursive
        return [str(path.relative_to(here(url))) for path in here(url).rglob("*")]

    module = ModuleType("moxing")
    module.file = SimpleNamespace(  # type: ignore[attr-defined]
        exists=lambda url: here(url).exists(),
        is_directory=lambda url: here(url).is_dir(),
        list_directory=list_directory,
        stat=stat,
        copy=lambda source, target: shutil.copy(here(source), made(target)),
        write=lambda url, text: made(url).write_text(text),
        remove=lambda url: here(url).unlink(),
        File=lambda url, mode: here(url).open(mode),
    )
    return module


@pytest.fixture
def moxing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "moxing", stand_in(tmp_path / "obs"))
    monkeypatch.setenv("LOOKONCE_MOXING", "1")
    return tmp_path / "obs" / "bucket"


def test_moxing_is_taken_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moxing", None)  # an import of it is an error
    for unasked in ("", "0", "False"):
        monkeypatch.setenv("LOOKONCE_MOXING", unasked)
        assert type(open_store()) is ObjectStore
    monkeypatch.setenv("LOOKONCE_MOXING", "1")
    with raises(RemoteError, "OBS", "S3", setting="LOOKONCE_MOXING"):
        open_store().entries(Location.parse("obs://bucket/a"))


def test_results_go_out_and_come_back_through_moxing(moxing: Path, tmp_path: Path) -> None:
    place, run = Location.parse("obs://bucket/out/run"), tmp_path / "run"
    for text in ("first", "second"):
        with atomic_folder(run / "checkpoints" / "last") as new:
            (new / "weights").write_text(text)
        (run / "log.txt").write_text(text)
        assert StageOut(run, place, open_store()).finish()
    assert len(list((moxing / "out" / "run" / "checkpoints" / "last").glob("*/weights"))) == 1  # not the older one
    assert fetch_run(place, tmp_path / "copy", open_store())
    for name in ("log.txt", "checkpoints/last/weights"):
        assert (tmp_path / "copy" / name).read_text() == "second"


def test_data_come_through_moxing_once_and_ranges_are_read(
    moxing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (moxing / "data" / "sub").mkdir(parents=True)
    (moxing / "data" / "sub" / "a.txt").write_text("0123456789")
    place = Location.parse("obs://bucket/data")
    store = MoxingStore()
    folder = stage_in(place, tmp_path / "data", store)
    assert (folder / "sub" / "a.txt").read_text() == "0123456789"
    assert stage_in(place / "sub/a.txt", tmp_path / "one", store).read_text() == "0123456789"
    assert store.read(place / "sub/a.txt", 3, 4) == b"3456"
    monkeypatch.setattr(store, "download", lambda *_: pytest.fail("it is here already"))
    stage_in(place, tmp_path / "data", store)


def test_an_object_that_is_too_large_is_an_error_and_is_not_cut(moxing: Path) -> None:
    (moxing / "a").parent.mkdir(parents=True)
    (moxing / "a").write_text("0123456789")
    place = Location.parse("obs://bucket/a")
    assert open_store().get(place, 10) == b"0123456789"
    with raises(UnreadableObject, path="s3://bucket/a"):
        open_store().get(place, 9)


def test_what_moxing_raises_is_told_with_the_address(moxing: Path) -> None:
    assert open_store().entries(Location.parse("obs://bucket/nothing")) == []
    with raises(RemoteError, "moxing: ", path="s3://bucket/nothing"):
        open_store().get_text(Location.parse("obs://bucket/nothing"))
