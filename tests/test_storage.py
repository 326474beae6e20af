"""Kills are real ones: a child process ends itself, without any clean-up, before its n-th operation on the disk."""

import errno
import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from raised import raises

from lookonce.storage import (
    MARKER,
    StorageError,
    atomic_folder,
    find_published,
    make_run_folder,
    recover,
    require_space,
    write_file,
)

OPERATIONS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def content(folder: Path) -> str:
    """What both files of a version say; fails when they are not of one version."""
    texts = {(folder / name).read_text() for name in ("a.txt", "b.txt")}
    assert len(texts) == 1
    return texts.pop()


def publish(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        (new / "a.txt").write_text(text)
        (new / "b.txt").write_text(text)


def publish_half(folder: Path, error: Exception) -> None:
    with atomic_folder(folder) as new:
        (new / "a.txt").write_text("half")
        raise error


def killed_publish(folder: Path, operation: int) -> bool:
    """Publish "new" in a fork that is killed before its n-th operation; False when it got to the end."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in OPERATIONS or (event == "open" and str(folder.parent) in str(arguments[0])):
            count += 1
            if count == operation:
                os._exit(9)

    def run() -> None:
        sys.addaudithook(watch)
        publish(folder, "new")

    child = multiprocessing.get_context("fork").Process(target=run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks of a process with threads
        child.start()
    child.join()
    assert child.exitcode in (0, 9)
    return child.exitcode == 9


def test_a_kill_before_any_operation_leaves_a_complete_version(tmp_path: Path) -> None:
    seen = []
    for operation in range(1, 100):
        folder = tmp_path / str(operation) / "last"
        publish(folder, "old")
        if not killed_publish(folder, operation):
            break
        found = find_published(folder)
        assert found is not None
        seen.append(content(found))
        recover(folder)
        assert content(folder) == seen[-1]
        assert [path.name for path in folder.parent.iterdir()] == ["last"]
        publish(folder, "newer")
        assert content(folder) == "newer"
    assert seen[0] == "old"
    assert seen[-1] == "new"
    assert seen == sorted(seen, reverse=True)  # old ..., then new ...: never back again
    assert len(seen) > 10


def test_two_kills_in_a_row_leave_a_complete_version(tmp_path: Path) -> None:
    for first in (8, 13):
        for second in (1, 7):
            folder = tmp_path / f"{first}-{second}" / "last"
            publish(folder, "old")
            killed_publish(folder, first)
            killed_publish(folder, second)
            found = find_published(folder)
            assert found is not None
            content(found)


def test_a_first_version_that_was_killed_is_not_there(tmp_path: Path) -> None:
    assert killed_publish(tmp_path / "last", 4)
    assert find_published(tmp_path / "last") is None
    publish(tmp_path / "last", "new")
    assert content(tmp_path / "last") == "new"


def test_an_error_while_writing_keeps_the_version_before_and_leaves_nothing_behind(tmp_path: Path) -> None:
    publish(tmp_path / "last", "old")
    with pytest.raises(RuntimeError):
        publish_half(tmp_path / "last", RuntimeError())
    assert content(tmp_path / "last") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    publish(tmp_path / "last", "old")
    with raises(StorageError, "space", path=tmp_path / "last"):
        publish_half(tmp_path / "last", OSError(errno.ENOSPC, "No space left on device"))
    assert content(tmp_path / "last") == "old"


def test_a_file_in_the_way_of_the_runs_folder_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with raises(StorageError, path=tmp_path / "runs"):
        make_run_folder(tmp_path / "runs", "name")


def test_what_will_not_fit_is_refused_before_it_begins(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 1000)
    with raises(StorageError, " MiB free", f" {1 + (2**60 >> 20)} MiB", path=tmp_path / "runs"):
        require_space(tmp_path / "runs", 2**60)


def test_run_folders_count_up_and_are_never_reused(tmp_path: Path) -> None:
    (tmp_path / "bccd-3").mkdir()
    (tmp_path / "bccd-x").mkdir()
    (tmp_path / "bccd-large-7").mkdir()
    names = [make_run_folder(tmp_path, "bccd").name for _ in range(2)]
    assert names == ["bccd-4", "bccd-5"]
    assert make_run_folder(tmp_path, "bccd-large").name == "bccd-large-8"


def test_a_replaced_file_is_whole_and_leaves_no_temporary_one(tmp_path: Path) -> None:
    write_file(tmp_path / "metrics.csv", "one")
    write_file(tmp_path / "metrics.csv", "two")
    assert (tmp_path / "metrics.csv").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_marker_is_written_after_everything_else(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "last") as new:
        assert not (new / MARKER).exists()
    assert (tmp_path / "last" / MARKER).stat().st_size == 0


def test_a_folder_where_a_file_is_to_be_written_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder"):
        write_file(tmp_path, b"")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    """Root would replace /dev/null by a file, and /dev/stdout is a link."""
    reader, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    for path in (device, tmp_path / "link"):
        if path != device:
            path.symlink_to(device)
        write_file(path, b"content")
        assert os.read(reader, 100) == b"content"
    assert device.is_char_device()
    assert (tmp_path / "link").is_symlink()
    for end in (reader, terminal):
        os.close(end)
    program = "from pathlib import Path; from lookonce.storage import write_file; write_file(Path('/dev/stdout'), 'x')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "x"
    assert Path("/dev/stdout").is_symlink()
