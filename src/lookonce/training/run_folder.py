"""The run folder: how a new run is named (RUNS/NAME-K), the paths of its files, and its metrics table.

RUNS/NAME-K/settings.yaml  log.txt  metrics.csv  metrics.jsonl  plots/
            checkpoints/last/  checkpoints/.previous/  checkpoints/best/
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lookonce.data.batch_sheet import draw_boxes
from lookonce.data.loader import Batch
from lookonce.errors import DataError, WeightsError
from lookonce.log import get_logger
from lookonce.parsed import parse_json
from lookonce.shown import UNDEFINED, command, csv_text
from lookonce.storage import (
    find_published,
    make_run_folder,
    only_user,
    os_errors_explained,
    read_regular_file,
    recover,
    remove_published,
    remove_temporary_files,
    write_file,
)

Row = Mapping[str, float | int]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "settings.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def images(self) -> Path:
        """Which image files were decoded, and the hash of the validation annotations."""
        return self.path / "images.json"

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run has a complete checkpoint to resume from."""
        return any(map(find_published, self.saves))

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def first_batch(self) -> Path:
        """Images of the first batch, as the network gets them."""
        return self.plots / "first-batch.jpg"

    @property
    def validation_sheet(self) -> Path:
        """Validation images with ground truth and predictions, of the newest evaluation."""
        return self.plots / "validation.jpg"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last"

    @property
    def previous(self) -> Path:
        """The save before `last`, in case that `last` is damaged; hidden, so that no copy of it is uploaded."""
        return self.path / "checkpoints" / ".previous"

    @property
    def saves(self) -> tuple[Path, Path]:
        """What a resume starts from, newest first."""
        return self.last, self.previous

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best"

    def last_of_rank(self, rank: int) -> Path:
        """The `last` of a rank other than 0; written only with save_on_all."""
        return self.path / "checkpoints" / f"rank-{rank}"

    def of_epoch(self, epoch: int) -> Path:
        """The weights after an epoch, counted from 0 as in the metrics table."""
        return self.path / "checkpoints" / f"epoch-{epoch:04d}"

    def forget_epochs(self, keep: int) -> None:
        """Remove the weights of all but the `keep` newest epochs."""
        folders = sorted((self.path / "checkpoints").glob("epoch-*"), key=lambda folder: int(folder.name[6:]))
        for folder in folders[:-keep]:
            remove_published(folder)

    def dump(self, epoch: int, index: int, rank: int, batch: Batch) -> Path:
        """Write a batch as the network got it: its arrays (batch.npz), and each image with its boxes drawn (PNG)."""
        folder = self.path / f"nonfinite-epoch{epoch}-batch{index}" / f"rank{rank}"
        with os_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / "batch.npz", **vars(batch))
            for row, image_id in enumerate(batch.image_ids):
                _, png = cv2.imencode(".png", draw_boxes(batch, row)[..., ::-1])
                (folder / f"{row:03d}-image{image_id}.png").write_bytes(png.tobytes())
        return folder

    def metrics(self) -> list[dict[str, float]]:
        """One row per epoch, oldest first. DataError for a line that is no row, except a truncated last one."""
        path = self.path / "metrics.jsonl"
        try:
            lines = read_regular_file(path).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError.at(path, f"cannot be read ({error.strerror}); restore or delete it") from error
        rows = []
        for number, line in enumerate(lines, start=1):
            row = _row_in(line)
            if row is not None:
                rows.append(row)
            elif number < len(lines):
                raise DataError(
                    f"{path} line {number}: {line[:80]!r}; expected a JSON object of numbers, one per epoch; "
                    "restore the file, or delete it to continue without the earlier rows",
                    path=path,
                    line=number,
                )
        return rows

    def write_metrics(self, rows: Iterable[Row]) -> None:
        """Replace metrics.jsonl and metrics.csv; the CSV has an empty cell for a missing or UNDEFINED value: a
        spreadsheet would draw -1 as a score."""
        rows = list(rows)
        cells = [{name: None if value == UNDEFINED else value for name, value in row.items()} for row in rows]
        write_file(self.path / "metrics.jsonl", "".join(json.dumps(dict(row)) + "\n" for row in rows))
        write_file(self.path / "metrics.csv", csv_text(cells))


def _row_in(line: bytes) -> dict[str, float] | None:
    """The row in a line of metrics.jsonl; None if the line was edited or truncated."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and all(isinstance(value, (int, float)) for value in row.values())
    return row if is_row else None


def create_run_folder(runs: Path, name: str) -> RunFolder:
    """Create a new folder RUNS/NAME-K."""
    return RunFolder(make_run_folder(runs, name))


def name_run_folder(runs: Path, name: str, *, begun_with: str = "") -> RunFolder:
    """RUNS/NAME for a new run; it may exist if it is empty, as a start that failed early leaves it.

    begun_with: file that a start writes before settings.yaml; what a kill left of it is removed.
    """
    folder = runs / name
    with os_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(folder)
    left = [path for path in folder.iterdir() if path.name != ".lock"]
    if [path.name for path in left] == [begun_with]:
        left.pop().unlink()
    if left:
        raise WeightsError.at(folder, "not empty and no run folder (it has no settings.yaml); choose another name")
    return RunFolder(folder)


def open_run_folder(path: Path) -> RunFolder:
    """The run folder for a path to it, or to one of its checkpoint folders. WeightsError if there is none."""
    candidates = (path, path.parent.parent)
    run = next((RunFolder(folder) for folder in candidates if (folder / "settings.yaml").is_file()), None)
    if run is None:
        raise WeightsError.at(
            path,
            "no run to resume; expected a run folder with settings.yaml and checkpoints/last, such as runs/train-1; "
            "check the path",
        )
    return run


@contextmanager
def only_trainer_of(run: RunFolder) -> Iterator[None]:
    """Lock the run inside the block, so that no other process trains it; first repair what a kill left incomplete."""
    with only_user(run.path):
        recover(run.last)
        recover(run.best)
        remove_temporary_files(run.path)
        yield


def newest_run(runs: Path, name: str | None = None) -> RunFolder:
    """The folder in `runs`, or of its runs NAME-K, with the newest checkpoint to resume from. WeightsError if none.

    Warns of runs that were started after that checkpoint and have none: their user may mean them.
    """
    named = re.compile(".*" if name is None else rf"{re.escape(name)}-\d+", re.DOTALL)
    paths = runs.iterdir() if runs.is_dir() else ()
    folders = [RunFolder(path) for path in paths if named.fullmatch(path.name) and path.is_dir()]
    resumable = [run for run in folders if run.settings.is_file() and run.has_checkpoint]
    if not resumable:
        raise WeightsError.at(
            runs,
            f"no run to resume; none of its {len(folders)} matching folders has settings.yaml and a complete "
            "checkpoints/last; start a run without --resume, or name its folder: --resume PATH",
        )

    def saved_at(run: RunFolder) -> float:
        checkpoint = next(filter(None, map(find_published, run.saves)))
        return (checkpoint / "manifest.json").stat().st_mtime

    newest = max(resumable, key=saved_at)
    for run in folders:
        is_profile = (run.path / "profile.txt").is_file()
        is_started = run.settings.is_file() and not run.has_checkpoint and not is_profile
        if is_started and run.settings.stat().st_mtime > saved_at(newest):
            get_logger().warning(
                f"{run.path}: was started later and has no checkpoint; resuming {newest.path}; to start the other one "
                f"again: {command('train', '--file', run.settings)}"
            )
    return newest
