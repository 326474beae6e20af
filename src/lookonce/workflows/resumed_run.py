"""The run that `train` resumes; `FREE_WHEN_RESUMING`: what a resume may change; a new run is named after its data."""

import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from lookonce.distributed import broadcast_object, is_main, recall_for_job
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import DEFAULT_ORIGIN, Resolved, is_said, resolve, with_own_names
from lookonce.settings.schema import Settings
from lookonce.training.run_folder import RunFolder, newest_run, open_run_folder
from lookonce.weights.checkpoint import first_intact, read_record, read_training_values
from lookonce.workflows.starting_weights import at_weights, located
from lookonce.workflows.train_inputs import is_newest, is_resumed


def settings_and_run(flags: Mapping[str, Any]) -> tuple[Settings, RunFolder | None]:
    """(settings, None) for a new run, or (settings, folder) of the run to resume."""
    flags = with_own_names(flags)
    resume = flags.pop("resume", False)
    if not is_resumed(resume):
        resolved = resolve(flags)
        run = RunFolder(resolved.settings.runs / resolved.settings.run)
        if not resolved.settings.run or not run.settings.is_file():
            return named_after_data(at_weights(resolved)), None
        return resumed_settings(open_run_folder(run.path), located(resolved)), run
    if flags.get("run"):
        raise SettingsError.of("run", flags["run"], "resume was given too; both select the run, leave one out")
    if "file" in flags:
        raise SettingsError.of("file", flags["file"], "a resumed run uses its own settings.yaml; leave file out")
    if is_newest(resume):
        run = newest_run(resolve(flags).settings.runs, flags.get("name"))
        get_logger().info(f"resuming {run.path}")
    else:
        run = open_run_folder(Path(resume))
    return resumed_settings(run, located(resolve(flags))), run


def named_after_data(resolved: Resolved) -> Settings:
    """The settings of a new run; without `name`, the run is named after its data."""
    settings = resolved.settings
    for note in resolved.notes:
        get_logger().warning(note)
    if resolved.origins["name"] != DEFAULT_ORIGIN or not settings.data:
        return settings
    data = Path(os.path.abspath(settings.data))  # noqa: PTH100 (a link has the name that was typed)
    named = data if data.is_dir() or data.stem not in ("data", "dataset") else data.parent
    return settings.model_copy(update={"name": named.stem or settings.name})


# Settings that may change on resume: none of them affects the weights.
FREE_WHEN_RESUMING = frozenset(
    {
        *("runs", "name", "run", "recipe", "device", "workers", "log_interval", "eval_every", "save_every", "cache_mb"),
        *("save_steps", "save_on", "keep", "patience", "time", "profile", "tensorboard", "page", "export_check"),
        *("devices", "nnodes", "node_rank", "rdzv_endpoint", "max_restarts", "rank_timeout", "cpus_per_rank"),
        "rank_logs",
        *("check_images", "on_bad_image", "follow_links"),
    }
)


# Value of a setting that lets the run choose; settings.yaml holds what it chose.
CHOSEN_BY_DATA = {"batch_size": 0, "epochs": 0} | dict.fromkeys(("assign_top", "objectness_prior", "ema_decay"), "auto")


def resumed_settings(run: RunFolder, asked: Resolved) -> Settings:
    """The run's own settings, updated with the user's FREE_WHEN_RESUMING; a user setting that would change the weights
    raises SettingsError. The data of a run with a checkpoint may have moved: `require_same_run` compares its content.

    Values from recipes and defaults are ignored, and so are those that let the run choose, which it has done already.
    """
    kept = resolve({}, file=run.settings).settings
    said = {name for name, origin in asked.origins.items() if is_said(origin)}
    free = FREE_WHEN_RESUMING | ({"data", "images"} if run.has_checkpoint else set())
    for name in said - free:
        before, now = getattr(kept, name), getattr(asked.settings, name)
        if before != now and CHOSEN_BY_DATA.get(name) != now:
            raise SettingsError.of(
                name,
                now,
                f"expected {before}, with which {run.path} was started; leave {name} out to resume it, or start "
                f"another run: --run NAME, from these weights with --weights {quote(str(run.path))}",
            )
    return kept.model_copy(update={name: getattr(asked.settings, name) for name in said & free})


def run_before_restart() -> RunFolder | None:
    """The run folder that this job created before torchrun restarted it; None at the first start."""
    path = broadcast_object(recall_for_job("run") if is_main() else None)
    return None if path is None else RunFolder(Path(path))


def batch_of_run(run: RunFolder | None) -> int:
    """Global batch size (images, all ranks together) of the run so far; 0 if there is no checkpoint."""
    values: Mapping[str, Any] = {}
    if run is not None and run.has_checkpoint and is_main():
        values = read_training_values(first_intact(run.saves))
    return int(broadcast_object(values.get("global_batch", 0)))


def require_same_run(run: RunFolder, record: ModelRecord) -> None:
    """DataError if the training annotations are not those that the run was started with; SettingsError if settings.yaml
    was edited so that other weights would result."""
    if not (is_main() and run.has_checkpoint):
        return
    before = read_record(first_intact(run.saves))
    if before.data_hash != record.data_hash:
        raise DataError.at(
            run.path,
            f"the training annotations changed since this run started (SHA-256 {before.data_hash[:12]}, now "
            f"{record.data_hash[:12]}); restore them, or start a new run from these weights: "
            f"--weights {quote(str(run.path))}",
        )
    for name in (before.settings.keys() & record.settings.keys()) - FREE_WHEN_RESUMING - {"data", "images"}:
        if before.settings[name] != record.settings[name]:
            raise SettingsError.at(
                run.settings,
                f"{name} is {record.settings[name]}; expected {before.settings[name]}, with which the run was trained "
                "so far; restore it, or start another run: --run NAME",
                setting=name,
                value=record.settings[name],
            )
