"""Several writers of one folder, what killed ones left behind, and folders in which other users may write."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from raised import raises

from lookonce.storage import StorageError, atomic_folder, only_user, only_writer, recover, write_file
from lookonce.workflows.predict import predict
from lookonce.workflows.train import train


def test_of_many_writers_of_one_file_each_readers_view_is_whole(tmp_path: Path) -> None:
    path, contents = tmp_path / "metrics.json", [str(number) * 20_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _written in pool.map(lambda content: [write_file(path, content) for _ in range(5)], contents):
            assert path.read_text() in contents
    assert [found.name for found in tmp_path.iterdir()] == ["metrics.json"]


def test_a_folder_that_is_being_written_is_refused_to_another_writer(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "best") as new:
        (new / "a").touch()
        with raises(StorageError, path=".best.new"), atomic_folder(tmp_path / "best"):
            pytest.fail("two writers")
        with raises(StorageError, path=".best.new"):
            recover(tmp_path / "best")
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["COMPLETE", "a"]


def test_of_two_predictions_into_one_folder_the_second_is_refused(run: Path, data: Path, tmp_path: Path) -> None:
    images, output = data / "val2017", tmp_path / "output"
    output.mkdir()
    with only_writer(output), raises(StorageError, path=output):
        predict(str(images), weights=run, output=output)
    assert not any(output.iterdir())
    predict(str(images), weights=run, output=output)
    assert (output / "detections.json").is_file()


def test_of_two_trainings_of_one_run_the_second_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 60))
    with only_user(run):
        monkeypatch.setattr(time, "monotonic", lambda: next(now))  # nobody waits in a test
        with raises(StorageError, f"process {os.getpid()}", path=run):
            train(resume=str(run))


def test_what_killed_processes_left_is_removed_by_the_next_training(run: Path) -> None:
    (run / ".lock").write_text("process 1 on a machine that is gone\n")
    (run / ".metrics.csv.0123abcd.new").write_text("half")
    assert train(resume=str(run)).exit_code == 0
    assert not list(run.glob(".*.new"))


def test_a_checkpoint_that_a_kill_left_moved_aside_is_resumed(run: Path) -> None:
    last = run / "checkpoints" / "last"
    last.rename(last.with_name(".last.old"))
    assert train(resume=str(run)).exit_code == 0
    assert (last / "COMPLETE").is_file()


def test_links_in_a_shared_folder_lead_nowhere(tmp_path: Path) -> None:
    """Names that another user could guess and make first."""
    victim, shared = tmp_path / "victim", tmp_path / "shared"
    victim.mkdir()
    shared.mkdir()
    (victim / "COMPLETE").touch()
    (victim / "notes").write_text("mine")
    for name in (".out.json.new", ".lock", "out.json"):
        (shared / name).symlink_to(victim / "notes")
    for name in (".best.new", ".best.old"):
        (shared / name).symlink_to(victim)
    write_file(shared / "out.json", "{}")
    with raises(StorageError, path=shared), only_user(shared):
        pytest.fail("the lock is a link")
    (shared / "best").mkdir()
    (shared / "best" / "COMPLETE").touch()
    with atomic_folder(shared / "best") as new:
        (new / "a").touch()
    assert sorted(path.name for path in victim.iterdir()) == ["COMPLETE", "notes"]
    assert (victim / "notes").read_text() == "mine"
