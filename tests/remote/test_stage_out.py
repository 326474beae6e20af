import threading
import time
from pathlib import Path
from typing import Any

from raised import raises

from lookonce.errors import DataError
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_out import CURRENT, NOT_SYNCED, StageOut, fetch_run, staging_out
from lookonce.storage import MARKER, atomic_folder

PLACE = Location.parse("s3://bucket/out/run-1")


def names(place: Location = PLACE) -> list[str]:
    return [entry.name for entry in ObjectStore().entries(place)]


def publish(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        (new / "weights").write_text(text)
        (new / "record.json").write_text("{}")


def sending(folder: Path, patience: float = 1) -> StageOut:
    return StageOut(folder, PLACE, ObjectStore(patience_seconds=patience))


def test_files_arrive_under_their_names_and_only_what_changed_is_sent_again(s3: Any, tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    (run / "plots").mkdir(parents=True)
    (run / "log.txt").write_text("one")
    (run / "plots" / "ü.svg").write_text("<svg/>")
    (run / ".hidden").write_text("mine")
    stage = sending(run)
    assert stage.sync()
    assert names() == ["log.txt", "plots/ü.svg"]
    (run / "log.txt").write_text("one two")
    s3.requests.clear()
    assert stage.sync()
    assert [request for request in s3.requests if "PUT" in request] == ["PUT /bucket/out/run-1/log.txt"]
    s3.requests.clear()
    assert sending(run).sync()  # another process looks, and finds everything there
    assert not [request for request in s3.requests if "PUT" in request]


def test_a_checkpoint_is_replaced_as_a_whole(s3: Any, tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    last = run / "checkpoints" / "last"
    publish(last, "first")
    stage = sending(run)
    assert stage.sync()
    assert fetch_run(PLACE, tmp_path / "copy-1", ObjectStore())
    publish(last, "second")
    # The new version breaks off at its second file, as when the container dies.
    s3.faults = [None, None, 403]
    assert not stage.sync()
    assert fetch_run(PLACE, tmp_path / "copy-2", ObjectStore())
    assert stage.sync()
    assert fetch_run(PLACE, tmp_path / "copy-3", ObjectStore())
    read = [(tmp_path / f"copy-{n}" / "checkpoints" / "last" / "weights").read_text() for n in (1, 2, 3)]
    assert read == ["first", "first", "second"]
    assert (tmp_path / "copy-3" / "checkpoints" / "last" / MARKER).exists()
    held = names(PLACE / "checkpoints")
    assert len(held) == 4  # three files of one version, and the pointer
    assert f"last/{CURRENT}" in held


def test_an_outage_does_not_stop_the_block_and_everything_is_there_in_the_end(s3: Any, tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    run.mkdir()
    with staging_out(run, PLACE, ObjectStore(patience_seconds=30), every_seconds=0.2) as stage:
        (run / "a.txt").write_text("a")
        time.sleep(0.8)
        s3.down()
        (run / "b.txt").write_text("b")
        time.sleep(0.5)
        threading.Timer(1, s3.up).start()
    assert not stage.unsent
    assert names() == ["a.txt", "b.txt"]


def test_what_could_not_be_sent_is_listed_in_a_file(s3: Any, tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    run.mkdir()
    s3.down()
    with staging_out(run, PLACE, ObjectStore(patience_seconds=1), every_seconds=1) as stage:
        for name in "abcdefgh":
            (run / f"{name}.txt").write_text(name)
        started = time.monotonic()
    assert time.monotonic() - started < 8  # not as long as each by itself would wait
    assert len(stage.unsent) == 8
    note = (run / NOT_SYNCED).read_text()
    assert all(f"{name}.txt: s3://bucket/out/run-1" in note for name in "abcdefgh")
    s3.up()
    assert StageOut(run, PLACE, ObjectStore()).finish()
    assert not (run / NOT_SYNCED).exists()
    assert len(names()) == 8


def test_a_run_with_a_name_that_leads_outside_is_refused(s3: Any, tmp_path: Path) -> None:
    for name in ("log.txt", "checkpoints/../../../outside.txt"):
        ObjectStore().put_text("x", PLACE / name)
    with raises(DataError, path="outside.txt"):
        fetch_run(PLACE, tmp_path / "deep" / "copy", ObjectStore())
    assert not list(tmp_path.rglob("*.txt"))


def test_a_run_that_is_not_there_is_told(s3: Any, tmp_path: Path) -> None:
    assert not fetch_run(PLACE, tmp_path / "copy", ObjectStore())
