"""`lookonce train`: trains and writes a run folder with checkpoints."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any

from lookonce import launch
from lookonce.cores import memory_kept, usable_threads
from lookonce.data.dataset import Dataset, data_hash, require_boxes
from lookonce.data.held_out import with_held_out
from lookonce.data.loader import Loader
from lookonce.devices import pin_to_cores, resolve_device
from lookonce.distributed import broadcast_object, is_main, process_group, remember_for_job, world_size
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, log_lines, logging_to, progress_bar, silenced
from lookonce.on_ranks import own_rank_group
from lookonce.runtimes.pytorch import use_threads
from lookonce.settings.image_size import hw_of
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings
from lookonce.settings.yaml_file import to_yaml
from lookonce.shown import command
from lookonce.storage import require_space, write_file
from lookonce.training.engine import Learner, reproducible
from lookonce.training.image_check import Decoded, decode_all, read_decoded, read_val_hash
from lookonce.training.profile import profile_training
from lookonce.training.run_folder import (
    RunFolder,
    create_run_folder,
    name_run_folder,
    only_trainer_of,
)
from lookonce.training.tensorboard import tensorboard_writer
from lookonce.training.trainer import OnEpoch, Trainer, TrainResult
from lookonce.workflows import build
from lookonce.workflows.choices import chosen_by_data, without_weights
from lookonce.workflows.monitor import shown_in_browser
from lookonce.workflows.resumed_run import batch_of_run, require_same_run, run_before_restart, settings_and_run
from lookonce.workflows.starting_weights import anchor_lines, log_facts, starting_record
from lookonce.workflows.train_inputs import require_data
from lookonce.workflows.validation_split import (
    VAL_FILE,
    held_out_names,
    open_data_of_run,
    require_val_split,
    write_names,
)


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
            settings = broadcast_object(resolve({}, file=run.settings).settings if is_main() else None)
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
        with (
            only_trainer_of(run) if is_main() else nullcontext(),
            logging_to(run.log) if is_main() else nullcontext(),
            shown_in_browser(run.path) if settings.page and is_main() else nullcontext(),
        ):
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


def open_splits(settings: Settings, run: RunFolder | None = None) -> tuple[Dataset, Dataset | None, list[str]]:
    """(training set, validation set or None, names of the images held out of the first for the second).

    The first error is raised. run: what it held out stays held out.
    """
    if run is None or not settings.data:
        require_data(settings)
    source = open_data_of_run(settings.model_dump(), run.path if run else None)
    held_out = held_out_names(source, settings.model_dump(), run.path if run else None, rank_group=own_rank_group())
    if held_out:
        source = with_held_out(source, settings.train_split, held_out)
    train_set = source.split(settings.train_split)
    require_boxes(train_set)
    if settings.val_split in source.splits:
        return train_set, source.split(settings.val_split), held_out
    require_val_split(settings.val_split, source)
    return train_set, None, []


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


def summary(
    settings: Settings, trainer: Trainer, train_set: Dataset, val_set: Dataset | None, num_held_out: int
) -> list[str]:
    """Log lines about the run: recipe, data, network, fitted anchors, device, precision, batches and folder."""
    record, learner = trainer.record, trainer.learner
    names = record.class_names
    num_parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    steps_per_epoch = learner.schedule.steps_per_epoch
    position = trainer.position
    resumed = ""
    if position.epoch >= settings.epochs:
        resumed = ", complete already: nothing is trained; to train anew, name another run (--run NAME); to train on, "
        resumed += "start from these weights (--weights RUN --epochs N)"
    elif position.epoch or position.batch:
        resumed = f", resumed at epoch {position.epoch + 1}, batch {position.batch}"
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
        *([] if resumed and settings.anchors != "auto" else anchor_lines(settings, record, train_set)),
        *([f"sizes     {sizes}"] if drawn else []),
        f"steps     {counted(settings.epochs, 'epoch')} x {batches}{together}{ranks}{resumed}",
        f"run       {trainer.run_folder.path}",
    ]


def counts(dataset: Dataset) -> str:
    num_empty = dataset.num_background
    empty = f" ({num_empty:,} without boxes)" if num_empty else ""
    return f"{counted(len(dataset), 'image')}{empty}, {counted(len(dataset.labels), 'box')}"


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
    """The run folder, which `--weights` and `--resume` take, and the next step; the log has the rest."""
    yield f"written: {result.run.path}"
    if not result.stopped:
        yield f"scores, curves and the worst images on one page: {command('report', result.run.path)}"
