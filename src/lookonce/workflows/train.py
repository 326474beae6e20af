"""`lookonce train`: trains and writes a run folder with checkpoints; `FREE_WHEN_RESUMING`: what a resume may change."""

import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch

from lookonce import launch
from lookonce.cores import memory_kept, usable_threads
from lookonce.data.dataset import Dataset, data_hash, require_boxes
from lookonce.data.held_out import VAL, with_held_out
from lookonce.data.loader import Loader
from lookonce.data.source import open_data
from lookonce.distributed import (
    broadcast_object,
    is_main,
    pin_to_cores,
    process_group,
    recall_for_job,
    remember_for_job,
    resolve_device,
    synchronize,
    world_size,
)
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, logging_to, progress_bar, silenced
from lookonce.on_ranks import own_rank_group
from lookonce.runtimes.pytorch import use_threads
from lookonce.settings.image_size import hw_of
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import DEFAULT_ORIGIN, Resolved, is_said, resolve
from lookonce.settings.schema import Settings
from lookonce.settings.values import seconds_of
from lookonce.settings.yaml_file import to_yaml
from lookonce.storage import require_space, write_file
from lookonce.training.engine import Learner, reproducible, train_one_epoch
from lookonce.training.image_check import Decoded, decode_all, read_decoded, read_val_hash
from lookonce.training.profile import profile_training
from lookonce.training.progress import duration
from lookonce.training.run_folder import (
    RunFolder,
    create_run_folder,
    name_run_folder,
    newest_run,
    only_trainer_of,
    open_run_folder,
)
from lookonce.training.tensorboard import tensorboard_writer
from lookonce.training.trainer import OnEpoch, Position, Trainer, TrainResult
from lookonce.weights.checkpoint import first_intact, read_record, read_training_values
from lookonce.workflows import build
from lookonce.workflows.monitor import shown_in_browser
from lookonce.workflows.starting_weights import at_weights, located, log_facts, starting_record
from lookonce.workflows.train_inputs import require_data
from lookonce.workflows.validation_split import NO_VAL, VAL_FILE, held_out_names, write_names


def train(**flags: Any) -> TrainResult:
    """Train a detector. Every setting of `lookonce config` is a keyword; only `data` is required.

    file: YAML file of settings. resume: True resumes the newest run in `runs` (with this `name`, if given); a path
    resumes that run. A resumed run needs no other setting. run: exact name of a run; it is resumed if it exists, else
    started. devices: number of ranks to start from this process. Ctrl-C and SIGTERM finish the current step, save a
    checkpoint and return (TrainResult.exit_code 75).
    """
    settings, run = settings_and_run(flags)
    if not launch.is_wanted(settings):
        use_threads(settings.cpus_per_rank or usable_threads())
        return train_here(settings, run)
    if run is not None:
        flags = flags | {"resume": str(run.path), "run": None, "file": None}
    return launch.launch(
        settings,
        train_as_rank,
        {"flags": flags},
        after_failure="The last checkpoint is intact; lookonce train --resume resumes from it",
    )


def train_as_rank(line: launch.LauncherConnection, flags: Mapping[str, Any]) -> TrainResult:
    """Train as one of the ranks that `train` starts."""
    use_threads(line.task.threads)
    with silenced(True):  # the launcher has read the same settings and logged their notes
        settings, run = settings_and_run(flags)
    return train_here(settings, run, line)


def train_here(settings: Settings, run: RunFolder | None, line: launch.LauncherConnection | None = None) -> TrainResult:
    """Train in this process, together with the other ranks if there are any. run: None starts a new run."""
    launch.redirect_output(settings.rank_logs)
    device = resolve_device(settings.device)
    with (
        logging_to(),
        pin_to_cores(settings.cpus_per_rank),
        process_group(device, machine=settings.node_rank, timeout_seconds=settings.rank_timeout),
        silenced(not is_main() and not settings.rank_logs),
        reproducible(device, deterministic=settings.deterministic),
        memory_kept(),
    ):
        if run is None and (run := run_before_restart()) is not None:
            settings = settings_of(run)
        train_set, val_set, held_out = open_splits(settings, run)
        decoded = checked_images(settings, run, train_set, val_set)
        train_hash = data_hash(train_set)
        own_rank_group().require_same(train_hash, "the training annotations")
        start = starting_record(settings, run)
        if run is None:
            settings = chosen_by_data(settings, train_set, val_set, start, device)
        has_own = broadcast_object(run is not None and run.has_checkpoint)
        if start is not None and not has_own:
            log_facts(settings, start)
        record = build.make_record(settings, train_set, train_hash, start)
        loader = build.make_train_loader(settings, train_set, record.preprocessing, device, batch_of_run(run))
        to_load = without_weights(settings) if has_own else settings  # a checkpoint of the run holds all weights
        learner = build.make_learner(to_load, record, len(loader), device, loader.batch_size)
        require_space(settings.runs if run is None else run.path, space_for_checkpoints(learner, settings))
        if run is None:
            log_lines(check_export_first(settings, learner, record))
        is_new = run is None
        run = run or start_run(settings, held_out)
        with writing_to(run), shown_in_browser(run.path) if settings.page and is_main() else nullcontext():
            require_same_run(run, record)
            if is_new and is_main():
                draw_first_batch(run, loader, record)
            remember_data(run, val_set, decoded)
            stop = None if line is None else line.stop
            on_epoch = [*make_observers(settings, run), make_score_monitor(settings, learner, record, run)]
            trainer = build.make_trainer(settings, learner, loader, val_set, record, run, on_epoch, stop)
            if broadcast_object(run.has_checkpoint):
                trainer.resume()
            log_lines(summary(settings, trainer, train_set, val_set, len(held_out)))
            if settings.profile:
                return profiled(trainer)
            if line is not None:
                line.has_begun()
            result = trainer.run()
            if is_main():  # only rank 0 writes the metrics that `outcome` reads
                log_lines(outcome(result, settings.best_metric))
    return result


@contextmanager
def writing_to(run: RunFolder) -> Iterator[None]:
    """Within the block, rank 0 holds the lock of the run folder and logs to its log file."""
    with ExitStack() as stack:
        if is_main():
            stack.enter_context(only_trainer_of(run))
            stack.enter_context(logging_to(run.log))
        yield


def run_before_restart() -> RunFolder | None:
    """The run folder that this job created before torchrun restarted it; None at the first start."""
    path = broadcast_object(recall_for_job("run") if is_main() else None)
    return None if path is None else RunFolder(Path(path))


def settings_of(run: RunFolder) -> Settings:
    """The settings that the run was started with, including values chosen or measured at that time."""
    kept: Settings = broadcast_object(resolve({}, file=run.settings).settings if is_main() else None)
    return kept


def batch_of_run(run: RunFolder | None) -> int:
    """Global batch size (images, all ranks together) of the run so far; 0 if there is no checkpoint."""
    values: Mapping[str, Any] = {}
    if run is not None and run.has_checkpoint and is_main():
        values = read_training_values(first_intact(run.saves))
    return int(broadcast_object(values.get("global_batch", 0)))


def settings_and_run(flags: Mapping[str, Any]) -> tuple[Settings, RunFolder | None]:
    """(settings, None) for a new run, or (settings, folder) of the run to resume."""
    flags = {name.replace("-", "_"): value for name, value in flags.items() if value is not None}
    resume = flags.pop("resume", False)
    if str(resume).lower() in ("", "false", "0", "no"):
        resolved = resolve(flags)
        run = RunFolder(resolved.settings.runs / resolved.settings.run)
        if not resolved.settings.run or not run.settings.is_file():
            return named_after_data(at_weights(resolved)), None
        return resumed_settings(open_run_folder(run.path), located(resolved)), run
    if flags.get("run"):
        raise SettingsError(
            f"run: {flags['run']!r} was given with resume; both select the run to resume, leave one out",
            setting="run",
            value=flags["run"],
        )
    if "file" in flags:
        raise SettingsError(
            f"file: {flags['file']} was given with resume; a resumed run uses its own settings.yaml, leave file out",
            setting="file",
            value=flags["file"],
        )
    if str(resume).lower() in ("true", "1", "yes"):
        run = newest_run(resolve(flags).settings.runs, flags.get("name"))
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
    data = Path(settings.data).resolve()
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
CHOSEN_BY_DATA = {"batch_size": 0, "epochs": 0, "objectness_prior": "auto", "ema_decay": "auto"}


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
                f"another run: --run NAME, from these weights with --weights {run.path}",
            )
    return kept.model_copy(update={name: getattr(asked.settings, name) for name in said & free})


def open_splits(settings: Settings, run: RunFolder | None = None) -> tuple[Dataset, Dataset | None, list[str]]:
    """(training set, validation set or None, names of the images held out of the first for the second).

    The first error is raised. run: what it held out stays held out.
    """
    require_data(settings)
    source = open_data(settings.data, settings.images, follow_links=settings.follow_links)
    held_out = held_out_names(source, settings.model_dump(), run.path if run else None, rank_group=own_rank_group())
    if held_out:
        source = with_held_out(source, settings.train_split, held_out)
    train_set = source.split(settings.train_split)
    require_boxes(train_set)
    if settings.val_split in source.splits:
        return train_set, source.split(settings.val_split), held_out
    if settings.val_split not in {VAL, NO_VAL}:
        raise SettingsError.of(
            "val_split", settings.val_split, f"expected one of {', '.join(source.splits)}, or none for no validation"
        )
    return train_set, None, []


def without_weights(settings: Settings) -> Settings:
    return settings.model_copy(update={"weights": None, "backbone_weights": None})


def chosen_by_data(
    settings: Settings, train_set: Dataset, val_set: Dataset | None, start: ModelRecord | None, device: torch.device
) -> Settings:
    """The settings of a new run, with numbers for all that is chosen from the data or measured."""
    settings = build.choose_batch_size(settings, len(train_set), device)
    settings = build.choose_epochs(settings, len(train_set))
    settings = build.choose_objectness_prior(settings, train_set)
    settings = fit_to_time(settings, train_set, val_set, start, device)
    global_batch = settings.batch_size * world_size()
    return build.choose_ema_decay(settings, -(-len(train_set) // global_batch), global_batch)


def checked_images(settings: Settings, run: RunFolder | None, train_set: Dataset, val_set: Dataset | None) -> Decoded:
    """Decode all images once. DataError for damaged ones with on_bad_image stop; a resumed run needs only its training
    images, since validation leaves damaged ones out."""
    facts: Decoded = {}
    if settings.check_images and is_main():
        known = {} if run is None else read_decoded(run.images)
        paths = list(dict.fromkeys([*train_set.image_paths, *(val_set.image_paths if val_set else ())]))
        with progress_bar("check images", len(paths)) as advance:
            facts = decode_all(paths, known, lambda done: advance(done, ""))
    facts = broadcast_object(facts)
    needed = map(str, train_set.image_paths) if run is not None else facts
    bad = [facts[name][2] for name in needed if name in facts and facts[name][2]]
    more = f" ({len(bad)} such images; to list all, run: lookonce check)" if len(bad) > 1 else ""
    if bad and settings.on_bad_image == "stop":
        raise DataError(f"{bad[0]}{more}; to train without, set --on-bad-image skip", setting="on_bad_image")
    if bad:
        get_logger().warning(f"{bad[0]}{more}; left out of training and of the score")
    return facts


def draw_first_batch(run: RunFolder, loader: Loader, record: ModelRecord) -> None:
    """Write RUN/plots/first-batch.jpg: what the network is fed. It is loaded once more in training."""
    from lookonce.reports.sheets import write_batch

    with closing(loader.epoch(0)) as batches:
        write_batch(run.first_batch, next(batches), record.class_names)


def remember_data(run: RunFolder, val_set: Dataset | None, decoded: Decoded) -> None:
    """Write which images were decoded; log a change of the validation annotations since the last start."""
    if not is_main():
        return
    before, val_hash = read_val_hash(run.images), data_hash(val_set) if val_set else ""
    if before is not None and before != val_hash:
        get_logger().warning(
            f"val: the annotations changed since this run started (SHA-256 {before[:12]}, now {val_hash[:12]}); scores "
            "before and after do not compare, nor does the best checkpoint"
        )
    write_file(run.images, json.dumps({"val": val_hash, "decoded": decoded}))


# The number of epochs that fit into `time` is written into the run's settings as `epochs`, so the run equals one that
# was started with `--epochs N`: it computes the same bits and resumes like any other.
# SKIPPED_STEPS are not timed: the first steps fill caches and memory pools.
SKIPPED_STEPS, TIMED_STEPS = 4, 12
SCORED_IMAGES = 12
# The rest is for costs that a few steps do not show: checkpoints, thermal throttling, other programs.
SHARE_PLANNED = 0.9


def fit_to_time(
    settings: Settings, train_set: Dataset, val_set: Dataset | None, start: ModelRecord | None, device: torch.device
) -> Settings:
    """The settings with `epochs` reduced to the number that fits into `time`; at least 1."""
    if not settings.time:
        return settings
    limit = seconds_of(settings.time)
    # Random weights take the same time; the run's own are initialised or loaded after this.
    fresh = without_weights(settings)
    record = build.make_record(fresh, train_set, "", start)
    loader = build.make_train_loader(fresh, train_set, record.preprocessing, device)
    learner = build.make_learner(
        build.choose_ema_decay(fresh, len(loader), loader.batch_size), record, len(loader), device, loader.batch_size
    )
    step = seconds_a_step(learner, loader)
    evaluation = seconds_to_score(settings, learner, record, val_set)
    an_epoch = step * len(loader) + (evaluation / settings.eval_every if settings.eval_every else 0)
    fitting = max(int(SHARE_PLANNED * limit / an_epoch), 1)
    fitting = broadcast_object(min(settings.start_epoch + fitting, settings.epochs))
    get_logger().info(
        f"time      {duration(limit)}: {fitting - settings.start_epoch} of {settings.epochs - settings.start_epoch} "
        f"epochs fit ({step:.3g} s a step, {evaluation:.3g} s an evaluation)"
    )
    return settings.model_copy(update={"epochs": fitting})


def seconds_a_step(learner: Learner, loader: Loader) -> float:
    ends = []
    with closing(loader.epoch(0)) as batches:
        few = islice(batches, SKIPPED_STEPS + TIMED_STEPS)
        for _ in train_one_epoch(learner, few, epoch=0, settle=lambda _batch: True):
            synchronize(learner.options.device)
            ends.append(time.perf_counter())
    gaps = [after - before for before, after in pairwise(ends)]
    return statistics.mean(gaps[SKIPPED_STEPS:] or gaps or [0.1])


def seconds_to_score(settings: Settings, learner: Learner, record: ModelRecord, val_set: Dataset | None) -> float:
    """Estimated seconds of a full evaluation, extrapolated from SCORED_IMAGES images; 0 without a validation set."""
    if val_set is None:
        return 0.0
    few = val_set.head(SCORED_IMAGES)
    evaluate = build.make_evaluate(settings, few)
    assert evaluate is not None
    evaluate(learner.result_model, record, lambda _done: None)  # warm-up: fills caches
    started = time.perf_counter()
    evaluate(learner.result_model, record, lambda _done: None)
    return (time.perf_counter() - started) * len(val_set) / len(few)


def make_observers(settings: Settings, run: RunFolder) -> list[OnEpoch]:
    """Callbacks that get the metrics of all epochs after each epoch: curves in RUN/plots and, if set, TensorBoard."""
    from lookonce.reports.content import Content, Run
    from lookonce.reports.html import write_plots

    def draw_curves(rows: Sequence[Mapping[str, float]]) -> None:
        write_plots(run.plots, Content(title="", run=Run(folder=run.path, settings={}, rows=rows, record=None)))

    return [draw_curves, *([tensorboard_writer(run.path / "tensorboard")] if settings.tensorboard else [])]


def make_score_monitor(settings: Settings, learner: Learner, record: ModelRecord, run: RunFolder) -> OnEpoch:
    """A callback that logs the likely cause when the validation AP50 stays near 0 or collapses."""
    from lookonce.runtimes.pytorch import PyTorchRuntime
    from lookonce.workflows.diagnose import ScoreMonitor

    return ScoreMonitor(
        settings.model_dump(mode="json"), lambda: PyTorchRuntime(learner.result_model, record), run.path
    )


LONG_RUN_STEPS = 5000


def check_export_first(settings: Settings, learner: Learner, record: ModelRecord) -> list[str]:
    """Check before training that the network exports, since days of training must not end in one that does not.

    Takes a few seconds and returns one line per format; none on ranks other than 0. `export_check` auto checks ONNX
    for runs of at least LONG_RUN_STEPS batches.
    """
    to = settings.export_check
    if to == "auto":
        to = "onnx" if settings.epochs * learner.schedule.steps_per_epoch >= LONG_RUN_STEPS else "none"
    if to == "none" or not is_main():
        return []
    from lookonce.workflows.export import check_export

    return check_export(learner.model, record, to)


def space_for_checkpoints(learner: Learner, settings: Settings) -> int:
    """Bytes of disk space that the checkpoints need at most.

    `last` holds the EMA, the weights and one or two arrays of optimizer state; `best` and the kept epochs hold the EMA
    alone. Of `last` the save before stays, and both exist once more while they are replaced, as `best` does; `keep` + 1
    epochs exist until the oldest is deleted.
    """
    bytes_of_weights: int = sum(array.nbytes for array in learner.model.state_dict().values())
    kept = min(settings.keep, settings.epochs) + 1 if settings.keep else 0
    return (3 * 4 + 2 + kept) * bytes_of_weights


def start_run(settings: Settings, held_out: list[str]) -> RunFolder:
    """Create the run folder, which holds only settings.yaml and the names of the images that are held out; rank 0
    creates it and broadcasts its path."""
    if is_main():
        named = name_run_folder(settings.runs, settings.run, begun_with=VAL_FILE) if settings.run else None
        run = named or create_run_folder(settings.runs, settings.name)
        write_names(run.path, held_out)
        write_file(run.settings, to_yaml(settings, comments=True))  # last: with it the folder is a run
        remember_for_job("run", str(run.path.absolute()))
    return RunFolder(broadcast_object(run.path if is_main() else None))


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
            f"{record.data_hash[:12]}); restore them, or start a new run from these weights: --weights {run.path}",
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


def summary(
    settings: Settings, trainer: Trainer, train_set: Dataset, val_set: Dataset | None, num_held_out: int
) -> list[str]:
    """Log lines about the run: recipe, data, network, device, precision, batches and folder."""
    record, learner = trainer.record, trainer.learner
    names = record.class_names
    num_parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    steps_per_epoch = learner.schedule.steps_per_epoch
    position = trainer.position
    resumed = f", resumed at epoch {position.epoch + 1}, batch {position.batch}" if run_has_begun(position) else ""
    val = counts(val_set) if val_set else f"none (val_split {settings.val_split}): no evaluation, no checkpoints/best"
    made = f", held out of {settings.train_split} (val_fraction {settings.val_fraction:g}, seed {settings.seed})"
    size = "{}x{}".format(*hw_of(settings.image_size))
    collected = learner.options.accumulate
    together = f", gradient accumulation over {collected} batches" if collected > 1 else ""
    place = f"on {learner.options.device} in {learner.options.precision}"
    batches = f"{counted(steps_per_epoch, 'batch')} of {counted(trainer.options.global_batch, 'image')}"
    ranks = f", split over {world_size()} processes" if world_size() > 1 else ""
    drawn = ", ".join(map(str, settings.multi_scale))
    every = f"every {settings.resize_every} batches" if settings.resize_every > 1 else "every batch"
    sizes = f"multi-scale: {drawn} pixels, one drawn {every}; evaluated at {size}"
    return [
        f"recipe    {settings.recipe}",
        f"data      {settings.data}: {counted(len(names), 'class')}: {few(names)}",
        f"train     {counts(train_set)}",
        f"val       {val}{made if num_held_out else ''}",
        f"network   {num_parameters:,} parameters, {size} pixels, dialect {record.dialect.name}, {place}",
        *([f"sizes     {sizes}"] if drawn else []),
        f"steps     {counted(settings.epochs, 'epoch')} x {batches}{together}{ranks}{resumed}",
        f"run       {trainer.run_folder.path}",
    ]


def run_has_begun(position: Position) -> bool:
    return position.epoch > 0 or position.batch > 0


def counts(dataset: Dataset) -> str:
    num_empty = int((dataset.box_offsets[1:] == dataset.box_offsets[:-1]).sum())
    num_images, num_boxes = len(dataset), len(dataset.labels)
    empty = f" ({num_empty:,} without boxes)" if num_empty else ""
    return f"{counted(num_images, 'image')}{empty}, {counted(num_boxes, 'box')}"


def profiled(trainer: Trainer) -> TrainResult:
    """Profile a few steps and write profile.txt and profile.json into the run folder; no checkpoint is saved."""
    if world_size() > 1:
        raise SettingsError("profile: measures one process only; leave devices and nnodes out", setting="profile")
    folder = trainer.run_folder.path
    log_lines(profile_training(trainer.learner, trainer.batches, folder))
    log_lines([f"written: {folder / 'profile.txt'}, and profile.json for https://ui.perfetto.dev"])
    return TrainResult(run=trainer.run_folder, metrics={}, stopped=False)


def outcome(result: TrainResult, best_metric: str) -> list[str]:
    """Log lines with the paths of the weights; none for a stopped run, which the trainer has logged."""
    if result.stopped:
        return []
    run = result.run
    best = max((row[best_metric] for row in run.metrics() if best_metric in row), default=None)
    if best is None:
        return [f"finished; last weights: {run.last}"]
    return [f"finished; best weights ({best_metric} {best:.3f}): {run.best}; last weights: {run.last}"]


def as_text(result: TrainResult) -> Iterator[str]:
    """The run folder, which `--weights` and `--resume` take; the log has the rest."""
    yield f"written: {result.run.path}"


def log_lines(lines: Iterable[str]) -> None:
    for line in lines:
        get_logger().info(line)
