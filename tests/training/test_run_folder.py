import os
from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import WeightsError
from lookonce.settings.record import ModelRecord
from lookonce.training.run_folder import (
    RunFolder,
    create_run_folder,
    name_run_folder,
    newest_run,
    only_trainer_of,
    open_run_folder,
)
from lookonce.weights.checkpoint import save_checkpoint


def begun(runs: Path, name: str, record: ModelRecord, *, age: float) -> RunFolder:
    """A run whose last checkpoint was written `age` seconds ago."""
    run = create_run_folder(runs, name)
    run.settings.write_text("")
    save_checkpoint(run.last, state={}, record=record)
    manifest = run.last / "manifest.json"
    written = manifest.stat().st_mtime - age
    os.utime(manifest, (written, written))
    return run


def test_the_newest_run_is_the_one_saved_last_not_the_one_begun_last(tmp_path: Path, record: ModelRecord) -> None:
    first = begun(tmp_path, "a", record, age=10)
    begun(tmp_path, "b", record, age=100)
    create_run_folder(tmp_path, "empty")
    assert newest_run(tmp_path) == first
    assert newest_run(tmp_path, "b").path.name == "b-1"


def test_a_later_run_without_a_checkpoint_is_not_passed_over_in_silence(
    tmp_path: Path, record: ModelRecord, caplog: pytest.LogCaptureFixture
) -> None:
    first = begun(tmp_path, "a", record, age=10)
    assert newest_run(tmp_path) == first
    assert not caplog.records
    killed = create_run_folder(tmp_path, "killed")
    killed.settings.write_text("")
    assert newest_run(tmp_path) == first
    (warned,) = caplog.records
    assert str(killed.settings) in warned.getMessage()


@pytest.mark.parametrize("name", ["a", "a[1]*"])
def test_the_newest_run_of_a_name_is_none_of_a_longer_name(tmp_path: Path, record: ModelRecord, name: str) -> None:
    run = begun(tmp_path, name, record, age=10)
    begun(tmp_path, f"{name}-b", record, age=0)
    assert newest_run(tmp_path, name) == run


def test_nothing_to_resume_says_what_was_looked_for(tmp_path: Path) -> None:
    create_run_folder(tmp_path, "empty")
    with raises(WeightsError, " 1 ", "settings.yaml", path=tmp_path):
        newest_run(tmp_path)
    with raises(WeightsError, path=tmp_path / "nowhere"):
        newest_run(tmp_path / "nowhere")


def test_a_run_is_opened_by_its_folder_or_by_its_checkpoint(tmp_path: Path, record: ModelRecord) -> None:
    run = begun(tmp_path, "a", record, age=0)
    assert open_run_folder(run.path) == open_run_folder(run.last) == run
    with raises(WeightsError, "settings.yaml", path=tmp_path):
        open_run_folder(tmp_path)


def test_training_puts_right_what_a_kill_left_moved_aside(tmp_path: Path, record: ModelRecord) -> None:
    run = begun(tmp_path, "a", record, age=0)
    run.last.rename(run.last.with_name(".last.old"))
    assert newest_run(tmp_path) == run
    with only_trainer_of(run):
        assert run.last.is_dir()


def test_a_run_without_metrics_has_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).metrics() == []


def test_metrics_of_later_columns_leave_earlier_rows_empty(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    rows = [{"epoch": 0, "loss": 0.1}, {"epoch": 1, "loss": 1 / 3, "AP": 0.5}]
    run.write_metrics(rows)
    assert run.metrics() == rows
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["epoch,loss,AP", "0,0.1,", f"1,{1 / 3},0.5"]


def test_a_metric_without_objects_is_an_empty_cell_of_the_csv_and_stays_in_the_json_lines(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_metrics([{"epoch": 0, "APs": -1.0}])
    assert run.metrics() == [{"epoch": 0, "APs": -1.0}]
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["epoch,APs", "0,"]


def test_a_run_with_a_name_of_its_own_is_made_once(tmp_path: Path) -> None:
    assert name_run_folder(tmp_path, "night").path == tmp_path / "night"
    assert name_run_folder(tmp_path, "night").path == tmp_path / "night"  # nothing in it yet
    (tmp_path / "night" / "notes.txt").write_text("mine")
    with raises(WeightsError, "settings.yaml", path=tmp_path / "night"):
        name_run_folder(tmp_path, "night")
