"""`lookonce job`: a cloud job from start to end: data in, training or evaluation, results out; and again, going on."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lookonce.cloud.plan import NO_PLATFORM, JobPlan, make_plan
from lookonce.config.aliases import BY_OLD_NAME, is_true
from lookonce.config.resolve import DEFAULT_ORIGIN, resolve
from lookonce.config.schema import Settings
from lookonce.config.yaml_file import read_entries
from lookonce.data.local_data import local_data
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger, logging_to
from lookonce.remote.local_copy import local_file, unpacked
from lookonce.remote.lock import work_lock
from lookonce.remote.objects import Location, is_remote
from lookonce.remote.stage_out import NOT_SYNCED, StageOut, fetch_run, staging_out
from lookonce.remote.store import open_store

EXIT_NOT_SYNCED = 74  # sysexits.h: an error of input or output
CACHE = Path("/cache")  # ModelArts' large disk
# What the job sees to itself, so that the same words on a platform's page do not stand in its way.
SEEN_TO = {
    "runs": "output_path is where runs lie here",
    "ckpt_path": "output_path is where runs lie here",
    "resume": "a job always goes on where it stopped",
    "rank": "each process is told by who starts it",
    "is_distributed": "the platform's variables say how many devices there are, or devices=N does",
}
# Options of lookonce eval that an evaluation passes on.
OF_EVALUATION = {
    "image_size": int,
    "iou_threshold": float,
    "score_threshold": float,
    "max_detections": int,
    "batch_size": int,
    "runtime": str,
    "device": str,
    "devices": int,
    "nnodes": str,
    "node_rank": int,
    "rdzv_endpoint": str,
    "rank_timeout": float,
}


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What a job is told beside the settings of training: as arguments, or as environment variables of these names.

    data_url, train_url, checkpoint_url: s3://, obs:// or a path: data, outputs, starting weights. data_path,
    output_path, load_path: where they lie on this machine; below /cache where there is one. data_dir: the data set
    below data_path. pretrained: the file that counts of several at checkpoint_url. task: train or eval. run: name of
    the run below train_url, which the same command continues; an evaluation is called RUN-eval.
    """

    task: str = "train"
    data_url: str = ""
    train_url: str = ""
    checkpoint_url: str = ""
    data_path: str = ""
    output_path: str = ""
    load_path: str = ""
    data_dir: str = ""
    pretrained: str = ""
    need_modelarts_dataset_unzip: str = "True"
    modelarts_dataset_unzip_name: str = ""
    run: str = ""
    split: str = "val"

    @property
    def name(self) -> str:
        """Of the folder with the results, here and below train_url."""
        if self.task == "eval":
            return f"{self.run}-eval" if self.run else "eval"
        return self.run or "job"

    def place(self, name: str, folder: str) -> Path:
        """The folder for data, outputs or weights on this machine."""
        told = getattr(self, name)
        return Path(told) if told else (CACHE if CACHE.is_dir() else Path("cache")) / folder


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """exit_code 0, 75 (stopped, the same command goes on) or 74 (done here, but not all of it has arrived there)."""

    folder: Path
    exit_code: int


def job(
    *,
    task: str | None = None,
    data_url: str | None = None,
    train_url: str | None = None,
    checkpoint_url: str | None = None,
    data_path: str | None = None,
    output_path: str | None = None,
    load_path: str | None = None,
    data_dir: str | None = None,
    pretrained: str | None = None,
    need_modelarts_dataset_unzip: str | None = None,
    modelarts_dataset_unzip_name: str | None = None,
    run: str | None = None,
    split: str | None = None,
    **flags: Any,
) -> JobResult:
    """Run a training or an evaluation as a job of a cloud platform, with data and results in object storage.

    The data are fetched (a .zip is unpacked) once for each machine, results are sent while they are made, and the
    same command, given again after whatever interruption, goes on where the last one stopped. How many machines and
    devices take part is read from what ModelArts, Ascend's rank tables or torchrun put into the environment.

    All settings of lookonce train can be given beside those below, under their names or the model zoo's; what nobody
    knows is noted and left alone, as platforms add arguments of their own. Exit status 75: stopped, the same command
    goes on; 74: done, but not all of it has arrived at train_url, and the same command sends the rest.

    Parameters
    ----------
    task
        train or eval. [train]
    data_url
        Labelled pictures: s3://BUCKET/KEY, obs://BUCKET/KEY or a path; a folder, a .zip, or shards. Or the environment
        variable of this name, as train_url and checkpoint_url.
    train_url
        Where results go: s3://, obs:// or a path.
    checkpoint_url
        Weights to start from, or to evaluate.
    data_path
        Folder for the data on this machine; below /cache where there is such a disk, else below ./cache.
    output_path
        Folder for runs and evaluations on this machine, likewise; a train_url that is a path comes first.
    load_path
        Folder for the weights on this machine, likewise.
    data_dir
        The data set, where it is not what lies in data_path.
    pretrained
        Which of several files of checkpoint_url; the folder before its name does not matter.
    need_modelarts_dataset_unzip
        False leaves a .zip among the data packed. [True]
    modelarts_dataset_unzip_name
        Name of the .zip, without its end, where there are several.
    run
        Name of the run below train_url [job]; its evaluation is RUN-eval [eval].
    split
        Which part of the data an evaluation takes. [val]
    """
    told = {name: value for name, value in locals().items() if name != "flags"} | flags
    options, settings = read_flags({name: value for name, value in told.items() if value is not None}, os.environ)
    with logging_to():
        plan = make_plan(os.environ)
        get_logger().info(describe(plan))
        os.environ.update(plan.environment())
        if options.task == "train":
            return train_job(options, settings, plan)
        if options.task == "eval":
            return eval_job(options, settings, plan)
        raise SettingsError(f"task: {options.task!r}, expected train or eval")


def read_flags(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[JobOptions, dict[str, Any]]:
    """What the job itself takes, and settings of training by their names.

    Command line before a YAML `file` before the environment.
    """
    flags = with_file({name.replace("-", "_"): value for name, value in flags.items()})
    own = {field.name for field in fields(JobOptions)}
    told = {name: environment.get(name) or environment.get(name.upper()) or "" for name in own if name.endswith("_url")}
    told |= {name: str(value) for name, value in flags.items() if name in own}
    told["data_url"] = told["data_url"] or str(flags.get("data", ""))
    settings = {name: value for name, value in flags.items() if _is_setting(name) and name not in {*own, *SEEN_TO}}
    for name in sorted(SEEN_TO.keys() & flags.keys()):
        get_logger().warning(f"{name}={flags[name]}: left alone, {SEEN_TO[name]}")
    unknown = sorted(flags.keys() - own - settings.keys() - SEEN_TO.keys() - {"enable_modelarts", "data"})
    if unknown:
        get_logger().warning(f"nobody here knows {', '.join(unknown)}: left alone")
    return JobOptions(**{name: value for name, value in told.items() if value}), settings


def with_file(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What the YAML `file` says, if there is one, under what the flags say by whichever spelling."""
    if "file" not in flags:
        return dict(flags)
    said = {_our_name(name) for name in flags}
    entries = {entry.name: entry.value for entry in read_entries(Path(flags["file"]))}
    below = {name: value for name, value in entries.items() if _our_name(name) not in said and value is not None}
    return below | {name: value for name, value in flags.items() if name != "file"}


def _our_name(name: str) -> str:
    is_ours = name in Settings.model_fields or name not in BY_OLD_NAME
    return name if is_ours else BY_OLD_NAME[name].new or name


def _is_setting(name: str) -> bool:
    is_own = name in {"enable_modelarts", "data"}  # of the job, or seen to
    return not is_own and (name in Settings.model_fields or name in BY_OLD_NAME)


def describe(plan: JobPlan) -> str:
    """One line about who takes part."""
    if plan.is_started:
        return f"job: rank {plan.rank} of {plan.world_size} (told by {plan.source})"
    devices = {0: "all devices", 1: "one device"}.get(plan.devices, f"{plan.devices} devices")
    nodes = f", node {plan.node_rank} of {plan.nnodes}, meeting at {plan.master}" if plan.nnodes > 1 else ""
    source = f" (told by {plan.source})" if plan.source != NO_PLATFORM else ""
    return f"job: {devices} of this machine{nodes}{source}"


def train_job(options: JobOptions, settings: Mapping[str, Any], plan: JobPlan) -> JobResult:
    """Data in, train or go on, results out."""
    from lookonce.workflows.train import train

    several = settings_of_plan(plan, settings)  # settings that are wrong are told before gigabytes are fetched
    data = stage_data(options)
    runs = output_folder(options)
    folder = runs / options.name
    begun = bring_back(options, folder)
    flags = {**settings, **several}
    if options.checkpoint_url and not begun:
        flags["weights"] = str(staged_weights(options))
    with results_to(options, folder, sends=is_first(plan, flags)) as sending:
        result = train(**flags, data=str(data), runs=str(runs), run=options.name)
    return JobResult(folder=folder, exit_code=exit_code(sending, result.exit_code))


def is_first(plan: JobPlan, settings: Mapping[str, Any]) -> bool:
    """Whether this machine writes for all, as the platform tells or somebody typed."""
    return plan.is_first and not int(settings.get("node_rank") or 0)


def settings_of_plan(plan: JobPlan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """devices, nnodes and so on for `train` and `eval`; a number of devices that somebody gave stays as it is."""
    from lookonce.distributed import count_devices

    resolved = resolve(settings)
    kind = resolved.settings.device.partition(":")[0]
    found = plan.settings(max(count_devices(kind)[1], 1))
    if resolved.origins["devices"] != DEFAULT_ORIGIN:
        found.pop("devices", None)
    return found


def eval_job(options: JobOptions, settings: Mapping[str, Any], plan: JobPlan) -> JobResult:
    """Data and weights in, COCO's numbers out; the pictures are shared out to all devices that take part."""
    from lookonce.workflows.evaluate import evaluate

    if not options.checkpoint_url:
        raise SettingsError("checkpoint_url: not given; an evaluation needs the weights: --checkpoint_url s3://...")
    passed = of_evaluation(settings)
    passed |= settings_of_plan(plan, {name: passed[name] for name in ("device", "devices") if name in passed})
    folder = output_folder(options) / options.name
    weights = staged_weights(options)
    with results_to(options, folder, sends=is_first(plan, passed)) as sending:
        evaluate(weights=weights, data=stage_data(options), split=options.split, output=folder, **passed)
    return JobResult(folder=folder, exit_code=exit_code(sending, 0))


def of_evaluation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of the settings is also an option of lookonce eval, under its name there and in its kind."""
    passed, others = {}, []
    for name, value in settings.items():
        alias = BY_OLD_NAME.get(name)
        new = _our_name(name)
        if new not in OF_EVALUATION:
            others.append(name)
            continue
        text = alias.in_verb(str(value)) if alias else str(value)
        try:
            passed[new] = OF_EVALUATION[new](text)
        except ValueError:
            raise SettingsError(f"{name}={value}: expected a number") from None
    if others:
        get_logger().warning(f"of training only, and left alone: {', '.join(sorted(others))}")
    return passed


def staged_weights(options: JobOptions) -> Path:
    """What lies at checkpoint_url, on this machine: a file, a folder, or the file in it that `pretrained` names."""
    found = local_file(options.checkpoint_url, options.place("load_path", "checkpoint_path"))
    named = found / Path(options.pretrained).name
    return named if options.pretrained and named.is_file() else found


def output_folder(options: JobOptions) -> Path:
    """Where runs are made on this machine: train_url itself where it is a folder, for nothing has to be sent then."""
    if options.train_url and not is_remote(options.train_url):
        return Path(options.train_url)
    return options.place("output_path", "train")


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
    """Whether the run has begun before, here or (then it is fetched) by a machine that is gone.

    It appears as a whole, so that a start that was killed here is not taken for a run without a checkpoint.
    """
    if not is_remote(options.train_url):
        return (folder / "settings.yaml").is_file()
    coming = folder.with_name(f".{folder.name}.coming")
    with work_lock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return (folder / "settings.yaml").is_file()
        if not fetch_run(Location.parse(options.train_url) / options.name, coming, open_store()):
            return False
        coming.rename(folder)
    get_logger().info(f"goes on with {options.train_url.rstrip('/')}/{options.name}, fetched to {folder}")
    return (folder / "settings.yaml").is_file()


@contextmanager
def results_to(options: JobOptions, folder: Path, *, sends: bool) -> Iterator[StageOut | None]:
    """Results are sent to train_url for the length of the block; None where there is nothing to send."""
    with ExitStack() as stack:
        sending = None
        if sends and is_remote(options.train_url):
            location = Location.parse(options.train_url) / folder.name
            get_logger().info(f"results go to {location} while they are made, and lie in {folder} here")
            sending = stack.enter_context(staging_out(folder, location, open_store()))
        elif sends and not options.train_url:
            get_logger().warning(f"train_url: not given; results stay on this machine, in {folder}")
        yield sending


def exit_code(sending: StageOut | None, of_work: int) -> int:
    """74 outranks the others: somebody has to see to it before the machine goes."""
    if sending is None:
        return of_work
    if not sending.unsent:
        get_logger().info(f"all results are at {sending.location}")
        return of_work
    get_logger().error(
        f"{len(sending.unsent)} files are not at {sending.location} yet, see {sending.folder / NOT_SYNCED}; the same "
        "command sends them"
    )
    return EXIT_NOT_SYNCED
