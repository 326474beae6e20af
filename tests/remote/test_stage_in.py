import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from raised import raises

from lookonce.errors import DataError
from lookonce.remote.archives import unzip
from lookonce.remote.objects import Location, ObjectStore, RemoteError
from lookonce.remote.stage_in import stage_in, unpack_once
from lookonce.storage import StorageError, work_lock

PLACE = Location.parse("s3://bucket/data")


def fill(names: dict[str, str]) -> None:
    store = ObjectStore()
    for name, text in names.items():
        store.put_text(text, PLACE / name)


def gets(s3: Any) -> list[str]:
    return [request for request in s3.requests if request.startswith("GET /bucket/data")]


def test_a_prefix_becomes_a_folder_and_a_second_call_fetches_nothing(s3: Any, tmp_path: Path) -> None:
    fill({"a.txt": "A", "sub/b.txt": "B"})
    folder = stage_in(PLACE, tmp_path / "data", ObjectStore())
    assert (folder / "sub" / "b.txt").read_text() == "B"
    s3.requests.clear()
    stage_in(PLACE, tmp_path / "data", ObjectStore())
    assert gets(s3) == []


def test_one_object_becomes_one_file(s3: Any, tmp_path: Path) -> None:
    fill({"a.txt": "A"})
    assert stage_in(PLACE / "a.txt", tmp_path / "data", ObjectStore()) == tmp_path / "data" / "a.txt"


def test_only_what_changed_is_fetched_again(s3: Any, tmp_path: Path) -> None:
    fill({"a.txt": "A", "b.txt": "B"})
    stage_in(PLACE, tmp_path / "data", ObjectStore())
    fill({"b.txt": "X"})
    s3.requests.clear()
    stage_in(PLACE, tmp_path / "data", ObjectStore())
    assert gets(s3) == ["GET /bucket/data/b.txt"]
    assert (tmp_path / "data" / "b.txt").read_text() == "X"


def test_after_a_kill_what_had_come_is_not_fetched_again(s3: Any, tmp_path: Path) -> None:
    fill({"a.txt": "A", "b.txt": "B"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("A")  # complete, but the marker was not written yet
    stage_in(PLACE, tmp_path / "data", ObjectStore())
    assert gets(s3) == ["GET /bucket/data/b.txt"]


def test_nothing_there_is_an_error_that_names_the_address(s3: Any, tmp_path: Path) -> None:
    with raises(RemoteError, path=str(PLACE)):
        stage_in(PLACE, tmp_path / "data", ObjectStore())


def test_a_key_that_leads_outside_is_refused(s3: Any, tmp_path: Path) -> None:
    fill({"good.txt": "A", "../../outside.txt": "x"})
    with raises(DataError, path="outside.txt"):
        stage_in(PLACE, tmp_path / "data", ObjectStore())
    assert not list(tmp_path.rglob("*.txt"))


def test_of_several_processes_one_fetches(s3: Any, tmp_path: Path) -> None:
    fill({f"{number}.txt": str(number) for number in range(20)})
    code = (
        "import sys; from pathlib import Path; from lookonce.remote.objects import *; "
        "from lookonce.remote.stage_in import stage_in; "
        "stage_in(Location.parse('s3://bucket/data'), Path(sys.argv[1]), ObjectStore())"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "data")]) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert sorted(gets(s3)) == sorted(f"GET /bucket/data/{number}.txt" for number in range(20))


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path: Path) -> None:
    code = "import sys, os; from pathlib import Path; from lookonce.storage import work_lock\n"
    code += "with work_lock(Path(sys.argv[1])): os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False)
    with work_lock(tmp_path / "data", patience_seconds=0):
        assert f"process {os.getpid()} " in (tmp_path / ".data.lock").read_text()
        with raises(StorageError, str(os.getpid())), work_lock(tmp_path / "data", patience_seconds=0):
            pytest.fail("held twice")


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.txt", "A")
    folder = unpack_once(archive, tmp_path / "data")
    before = (folder / "a.txt").stat().st_mtime_ns
    assert unpack_once(archive, tmp_path / "data") == folder
    assert (folder / "a.txt").stat().st_mtime_ns == before


def test_a_kill_after_an_archive_was_unpacked_leaves_a_folder_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.txt", "A")

    def unzip_and_die(*arguments: Any) -> None:
        unzip(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lookonce.remote.stage_in.unzip", unzip_and_die)
        with pytest.raises(KeyboardInterrupt):
            unpack_once(archive, tmp_path / "data")
    assert (unpack_once(archive, tmp_path / "data") / "a.txt").read_text() == "A"


def test_an_archive_that_changed_does_not_pass_for_what_was_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    for text in ("A", "longer"):
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("a.txt", text)
        if text == "A":
            unpack_once(archive, tmp_path / "data")
    for _ in range(2):
        with raises(DataError, path=tmp_path / "data"):
            unpack_once(archive, tmp_path / "data")
