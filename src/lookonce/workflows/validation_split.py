"""The validation split that training makes for data that have none, the same in every command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lookonce.data.dataset import Dataset
from lookonce.data.findings import ignore
from lookonce.data.held_out import VAL, choose_held_out, lacks_val, relative_names, with_held_out
from lookonce.data.source import open_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, progress_of
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.remote.objects import is_remote
from lookonce.reports.content import read_run
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.names import counted, suggested_value
from lookonce.settings.schema import Settings
from lookonce.storage import write_file
from lookonce.weights.pull import find_weights

VAL_FILE = "val.txt"  # of a run folder: the names of the images that were held out, one a line
NO_VAL = "none"  # val_split of a run without validation
_SETTINGS = ("train_split", "val_split", "val_fraction", "seed")


def with_val(source: DataSource, settings: Mapping[str, Any], run: Path | None = None) -> DataSource:
    """`source`; if it has no split val, with that of training with `settings` (of the run folder `run`, if any).

    settings: of the training; empty: the defaults. Unchanged where that training had no validation split.
    """
    train_split = _of_split(settings)["train_split"]
    names = held_out_names(source, settings, run)
    if not names and lacks_val(source, train_split):
        source.num_held_out = 0
    return with_held_out(source, train_split, names) if names else source


def data_of_run(settings: Mapping[str, Any], run: Path | None = None) -> DataSource:
    """The data that a run was trained on, with its validation split. KeyError if the settings name none."""
    return with_val(open_data_of_run(settings, run), settings, run)


def open_data_of_run(settings: Mapping[str, Any], run: Path | None = None) -> DataSource:
    """The data that a run was trained on, with the splits of its files. run: the folder that the settings are from."""
    if run is not None:
        require_data_of_run(settings, run)
    return open_data(settings["data"], settings.get("images"), follow_links=settings.get("follow_links", False))


def places_of_run(weights: Path | None) -> tuple[Path, Path | None, bool]:
    """data, images and follow_links of the run that trained `weights`; SettingsError if no run folder holds them."""
    run = None if weights is None else run_of(find_weights(weights))
    settings = {} if run is None else read_run(run).settings
    if run is None or not settings.get("data"):
        problem = "not given; add --data DATA; only weights in a run folder have data of their own"
        raise SettingsError(f"data: {problem}", setting="data")
    require_data_of_run(settings, run)
    get_logger().info(f"data: {settings['data']}, on which {run} was trained")
    images = settings.get("images")
    return Path(settings["data"]), Path(images) if images else None, settings.get("follow_links", False)


def require_data_of_run(settings: Mapping[str, Any], run: Path) -> None:
    """DataError if the data that the settings of `run` name are not there any more."""
    data = settings["data"]
    if not is_remote(data) and not Path(data).exists():
        raise DataError.at(
            data,
            f"no such file or folder; expected the data set of {run}; if it was moved, set data in "
            f"{run / 'settings.yaml'}",
        )


def with_val_of(source: DataSource, weights: Path | None, names: Path | None = None) -> DataSource:
    """`with_val`, for the training of `weights`; names: their class names, for files without. None: the defaults."""
    run = run_of(weights)
    if run is not None:
        return with_val(source, read_run(run).settings, run)
    if weights is None or not lacks_val(source, _of_split({})["train_split"]):
        return with_val(source, {})
    return with_val(source, load_runtime(weights, names=names).record.settings)


def split_to_score(
    source: DataSource, split: str, weights: Path | None, names: Path | None = None, *, makes_val: bool = True
) -> Dataset:
    """A split for the detections of `weights`, val as in `with_val_of`. It logs what is scored, and whether training
    held images out of it. makes_val: False where training did not hold images out; the only split of the
    data is then scored in place of val."""
    if split == VAL and makes_val:
        source = with_val_of(source, weights, names)
    note = ""
    if split == VAL and not makes_val and len(source.splits) == 1 and source.splits[0] != VAL:
        split, note = source.splits[0], ", the only one: the data have no split 'val'"
    dataset, run = source.split(split), run_of(weights)
    if split == VAL and source.num_held_out:
        note = ", held out of train"
    elif split != VAL and run is not None and lacks_val(source, split):
        num_held_out = len({*relative_names(dataset.image_paths)} & {*read_names(run)})
        if num_held_out:
            note = f", also the {num_held_out:,} that training held out for val (--split val evaluates those alone)"
    counts = f"{counted(len(dataset), 'image')}, {counted(len(dataset.labels), 'box')}"
    get_logger().info(f"split {split!r}: {counts}{note}")
    return dataset


def held_out_names(
    source: DataSource, settings: Mapping[str, Any], run: Path | None = None, *, rank_group: RankGroup = SINGLE_RANK
) -> list[str]:
    """Names of the training images that are held out; [] if the data have a split val, or none can be made.

    run: its list decides if the data are those of the run. Rank 0 chooses for all ranks.
    """
    chosen = _of_split(settings)
    train_split = chosen["train_split"]
    if chosen["val_split"] != VAL or not lacks_val(source, train_split):
        return []
    recorded = None if run is None else read_names(run)
    if recorded is not None:
        known = set(relative_names(source.as_written(train_split, ignore).image_paths))
        if not recorded or not known.isdisjoint(recorded):
            return recorded
    names: list[str] | None = None
    if rank_group.is_main:
        get_logger().info(
            f"{source.origin}: has no split 'val'; comparing the images of {train_split!r} to hold out some"
        )
        with progress_of("compare images") as on_progress:
            names = choose_held_out(
                source,
                train_split,
                fraction=chosen["val_fraction"],
                seed=chosen["seed"],
                on_progress=on_progress,
            )
    shared: list[str] = rank_group.broadcast(names)
    return shared


def _of_split(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the split; of an earlier version, whose runs held nothing out, without validation."""
    if settings and "val_fraction" not in settings:
        settings = {**settings, "val_split": NO_VAL}
    return {name: settings.get(name, Settings.model_fields[name].default) for name in _SETTINGS}


def require_val_split(val_split: str, source: DataSource) -> None:
    """SettingsError for a split that the data do not have and training does not make."""
    if val_split not in {*source.splits, VAL, NO_VAL}:
        expected = f"expected one of {', '.join(source.splits)}, or none for no validation"
        raise SettingsError.of("val_split", val_split, f"{expected}{suggested_value(val_split, source.splits)}")


def run_of(weights: Path | None) -> Path | None:
    """The run folder of weights: it, or the folder around a checkpoint or an exported file; None if there is none."""
    folders = () if weights is None else (weights, *weights.absolute().parents[:3])  # RUN/checkpoints/best/MODEL
    return next((one for one in folders if (one / "settings.yaml").is_file() and (one / "checkpoints").is_dir()), None)


def read_names(run: Path) -> list[str]:
    """What `write_names` wrote; [] for a run that held nothing out."""
    file = run / VAL_FILE
    return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if file.is_file() else []


def write_names(run: Path, names: list[str]) -> None:
    if names:
        write_file(run / VAL_FILE, "".join(f"{name}\n" for name in names).encode(errors="surrogateescape"))
