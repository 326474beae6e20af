"""`lookonce job`: a cloud job from start to end: data in, training or evaluation, results out; and again, going on."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lookonce.cloud.plan import Plan, make_plan
from lookonce.config.aliases import BY_OLD_NAME
from lookonce.config.schema import Settings
from lookonce.config.text import is_true
from lookonce.data.places import local_data
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, logging_to
from lookonce.remote.objects import Location, ObjectStore, is_remote
from lookonce.remote.places import local_file, unpacked
from lookonce.remote.stage_out import NOT_SYNCED, StageOut, fetch_run, staging_out

EXIT_NOT_SYNCED = 74  # sysexits.h: an error of input or output
CACHE = Path("/cache")  # ModelArts' large disk
RUN = "job"
EVALUATION = "eval"


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What a job is told beside the settings of training: as arguments, or as environment variables of these names.

    data_url, train_url, checkpoint_url: s3://, obs:// or a path: data, outputs, starting weights. data_path,
    output_path, load_path: where they lie on this machine; below /cache where there is one. data_dir: the data set
    below data_path. task: train or eval. run: name of the run below train_url, which the same command continues.
    """

    task: str = "train"
    data_url: str = ""
    train_url: str = ""
    checkpoint_url: str = ""
    data_path: str = ""
    output_path: str = ""
    load_path: str = ""
    data_dir: str = ""
    need_modelarts_dataset_unzip: str = "True"
    modelarts_dataset_unzip_name: str = ""
    run: str = RUN
    split: str = "val"

    def place(self, name: str, folder: str) -> Path:
        """The folder for data, outputs or weights on this machine."""
        told = getattr(self, name)
        return Path(told) if told else (CACHE if CACHE.is_dir() else Path("cache")) / folder


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """exit_code 0, 75 (stopped, the same command goes on) or 74 (done here, but not all of it has arrived there)."""

    folder: Path
    exit_code: int


def job(**flags: Any) -> JobResult:
    """Run a training or an evaluation as a job of a cloud platform, with data and results in object storage.

    The data are fetched (a .zip is unpacked) once for each machine, results are sent while they are made, and the
    same command, given again after whatever interruption, goes on where the last one stopped. How many machines and
    devices take part is read from what ModelArts, Ascend's rank tables or torchrun put into the environment.

    All settings of lookonce train can be given beside those below, under their names or the model zoo's; what nobody
    knows is noted and left alone, as platforms add arguments of their own.

    Parameters
    ----------
    task
        train or eval. [train]
    data_url
        Labelled pictures: s3://BUCKET/KEY, obs://BUCKET/KEY or a path; a folder, a .zip, or shards.
    train_url
        Where results go: s3://, obs:// or a path.
    checkpoint_url
        Weights to start from, or to evaluate.
    data_path, output_path, load_path
        Folders on this machine for these three; below /cache where there is such a disk, else below ./cache.
    data_dir
        The data set, where it is not what lies in data_path.
    run
        Name of the run below train_url. [job]
    split
        Which part of the data an evaluation takes. [val]
    """
    options, settings = read_flags(flags, os.environ)
    with logging_to():
        plan = make_plan(os.environ)
        get_logger().info(describe(plan))
        os.environ.update(plan.environment())
        if options.task == "train":
            return train_job(options, settings, plan)
        if options.task == "eval":
            return eval_job(options, settings)
        raise SettingsError(f"task: {options.task!r}, expected train or eval")


def read_flags(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[JobOptions, dict[str, Any]]:
    """What the job itself takes, from arguments or else the environment, and settings of training by their names."""
    own = {field.name for field in fields(JobOptions)}
    told = {name: environment.get(name) or environment.get(name.upper()) or "" for name in own if name.endswith("_url")}
    told |= {name: str(value) for name, value in flags.items() if name in own}
    settings = {name: value for name, value in flags.items() if name not in own and _is_setting(name)}
    unknown = sorted(flags.keys() - own - settings.keys() - {"enable_modelarts"})
    if unknown:
        get_logger().warning(f"nobody here knows {', '.join(unknown)}: left alone")
    return JobOptions(**{name: value for name, value in told.items() if value}), settings


def _is_setting(name: str) -> bool:
    return name in Settings.model_fields or name == "file" or (name in BY_OLD_NAME and name != "data_dir")


def describe(plan: Plan) -> str:
    """One line about who takes part."""
    if plan.is_started:
        return f"job: rank {plan.rank} of {plan.world_size} (told by {plan.source})"
    devices = plan.devices or "all"
    nodes = f", node {plan.node_rank} of {plan.nnodes}, meeting at {plan.master}" if plan.nnodes > 1 else ""
    return f"job: {devices} devices of this machine{nodes} (told by {plan.source})"


def train_job(options: JobOptions, settings: Mapping[str, Any], plan: Plan) -> JobResult:
    """Data in, train or go on, results out."""
    from lookonce.distributed import count_devices
    from lookonce.workflows.train import train

    data = stage_data(options)
    runs = options.place("output_path", "train")
    folder = runs / options.run
    begun = bring_back(options, folder)
    flags = dict(settings)
    if options.checkpoint_url and not begun:
        flags["weights"] = str(local_file(options.checkpoint_url, options.place("load_path", "checkpoint_path")))
    kind = str(settings.get("device", "auto"))
    flags |= plan.settings(max(count_devices(kind)[1], 1) if kind != "cpu" else int(settings.get("devices", 1)))
    with results_to(options, folder, sends=plan.node_rank == 0 and plan.rank in (None, 0)) as sending:
        result = train(**flags, data=str(data), runs=str(runs), run=options.run)
    return JobResult(folder=folder, exit_code=exit_code(sending, result.exit_code))


def eval_job(options: JobOptions, settings: Mapping[str, Any]) -> JobResult:
    """Data and weights in, COCO's numbers out."""
    from lookonce.workflows.evaluate import evaluate

    if not options.checkpoint_url:
        raise SettingsError("checkpoint_url: not given; an evaluation needs the weights: --checkpoint_url s3://...")
    if settings:
        get_logger().warning(f"of training only, and left alone: {', '.join(sorted(settings))}")
    weights = local_file(options.checkpoint_url, options.place("load_path", "checkpoint_path"))
    folder = options.place("output_path", "train") / EVALUATION
    with results_to(options, folder, sends=True) as sending:
        evaluate(weights=weights, data=stage_data(options), split=options.split, output=folder)
    return JobResult(folder=folder, exit_code=exit_code(sending, 0))


def stage_data(options: JobOptions) -> Path:
    """The data set on this machine: fetched, unpacked, and the folder in it that is one."""
    place = options.place("data_path", "data")
    if not options.data_url:
        root = Path(options.data_dir) if options.data_dir else place
    else:
        root = local_data(options.data_url, place)
        if options.data_dir and Path(options.data_dir).is_dir():
            root = Path(options.data_dir)
    return _data_set_in(_zip_in(root, options) if is_true(options.need_modelarts_dataset_unzip) else root)


def _zip_in(root: Path, options: JobOptions) -> Path:
    """A folder that holds one .zip (or the one that is named) and no data set yet -> what is in it."""
    if not root.is_dir() or _is_data_set(root):
        return root
    archives = sorted(root.glob(f"{options.modelarts_dataset_unzip_name or '*'}.zip"))
    return unpacked(archives[0], root) if len(archives) == 1 else root


def _data_set_in(root: Path) -> Path:
    """The folder itself, or the only one in it that is a data set."""
    inside = [child for child in sorted(root.iterdir()) if child.is_dir()] if root.is_dir() else []
    found = [root] if _is_data_set(root) else [child for child in inside if _is_data_set(child)]
    return found[0] if len(found) == 1 else root  # what is wrong with it is said by whoever opens it


def _is_data_set(folder: Path) -> bool:
    try:
        open_data(folder)
    except DataError:
        return False
    return True


def bring_back(options: JobOptions, folder: Path) -> bool:
    """Whether the run has begun before, here or (then it is fetched) by a machine that is gone."""
    if (folder / "settings.yaml").is_file():
        return True
    if not is_remote(options.train_url):
        return False
    found = fetch_run(Location.parse(options.train_url) / options.run, folder, ObjectStore())
    if found:
        get_logger().info(f"goes on with {options.train_url.rstrip('/')}/{options.run}, fetched to {folder}")
    return found


@contextmanager
def results_to(options: JobOptions, folder: Path, *, sends: bool) -> Iterator[StageOut | None]:
    """Results are sent to train_url for the length of the block; None where there is nothing to send."""
    with ExitStack() as stack:
        sending = None
        if sends and is_remote(options.train_url):
            location = Location.parse(options.train_url) / folder.name
            sending = stack.enter_context(staging_out(folder, location, ObjectStore()))
        yield sending


def exit_code(sending: StageOut | None, of_work: int) -> int:
    """74 outranks the others: somebody has to see to it before the machine goes."""
    if sending is None or not sending.unsent:
        return of_work
    get_logger().error(
        f"{len(sending.unsent)} files are not at {sending.location} yet, see {sending.folder / NOT_SYNCED}; the same "
        "command sends them"
    )
    return EXIT_NOT_SYNCED
