"""`lookonce job`: a cloud job from start to end: data in, training or evaluation, results out; and again, going on."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookonce.cloud.plan import NO_PLATFORM, JobPlan, make_plan
from lookonce.config.aliases import BY_OLD_NAME, for_verb, is_true
from lookonce.config.names import few
from lookonce.config.resolve import COMMAND_LINE, DOCUMENTS_RECIPE, is_said, require_known, resolve
from lookonce.config.schema import Settings
from lookonce.config.yaml_file import Entry, read_entries
from lookonce.data.local_data import local_data
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError, WeightsError
from lookonce.layout import PLAIN, Layout
from lookonce.log import get_logger, logging_to
from lookonce.remote.local_copy import local_weights, unpacked
from lookonce.remote.lock import work_lock
from lookonce.remote.objects import Location, is_remote
from lookonce.remote.stage_out import NOT_SYNCED, StageOut, fetch_run, staging_out
from lookonce.remote.store import open_store

if TYPE_CHECKING:
    from lookonce.workflows.evaluate import Evaluation

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
OF_EVALUATION: dict[str, Callable[[str], Any]] = {
    "image_size": int,
    "iou_threshold": float,
    "score_threshold": float,
    "max_detections": int,
    "multi_label": is_true,
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
    below data_path. pretrained: the file that counts of several at checkpoint_url; names: the list of its class names,
    beside it or elsewhere, where it is another program's. task: train or eval. run: name of the run below train_url,
    which the same command continues; an evaluation is called RUN-eval.
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
    names: str = ""
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


OWN = frozenset(field.name for field in fields(JobOptions))


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """exit_code 0, 75 (stopped, the same command goes on) or 74 (done here, but not all of it has arrived there)."""

    folder: Path
    exit_code: int
    evaluation: "Evaluation | None" = None

    @property
    def is_main(self) -> bool:
        return self.evaluation is None or self.evaluation.is_main


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
    names: str | None = None,
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
    names
        Class names of a .ckpt or .weights, one a line, where it does not say: a file beside it, or anywhere.
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
    with logging_to():
        options, handed_on = read_flags({name: value for name, value in told.items() if value is not None}, os.environ)
        plan = make_plan(os.environ)
        get_logger().info(describe(plan))
        os.environ.update(plan.environment())
        if options.task == "train":
            return train_job(options, handed_on, plan)
        if options.task == "eval":
            return eval_job(options, handed_on, plan)
        raise SettingsError(f"task: {options.task!r}, expected train or eval", setting="task", value=options.task)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a job was told of the training or evaluation it is to run.

    flags: options as they were typed; entries: those of a YAML file; from_document: whether the model zoo's
    enable_modelarts is among them, which brings its recipe.
    """

    flags: Mapping[str, Any]
    entries: Sequence[Entry] = ()
    from_document: bool = False


def read_flags(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[JobOptions, Told]:
    """What the job itself takes, and what it hands on.

    Command line before the environment before a YAML `file`, in which the original's defaults are no choice.
    """
    flags = {name.replace("-", "_"): value for name, value in flags.items()}
    file = flags.pop("file", flags.pop("config_path", None))
    entries = read_entries(Path(file)) if file else []
    require_known(entries, OWN)
    chosen = {entry.name: entry.value for entry in entries if entry.value is not None and not entry.is_default}
    told = {name: value for name, value in chosen.items() if name in OWN}
    told |= {name: value for name in OWN if name.endswith("_url") and (value := _variable(environment, name))}
    told |= {name: value for name, value in flags.items() if name in OWN}
    told["data_url"] = told.get("data_url") or flags.get("data") or chosen.get("data", "")
    for name in sorted(SEEN_TO.keys() & (flags.keys() | chosen.keys())):
        get_logger().warning(f"{name}={flags.get(name, chosen.get(name))}: left alone, {SEEN_TO[name]}")
    settings = {name: value for name, value in flags.items() if _is_setting(name)}
    unknown = sorted(flags.keys() - OWN - settings.keys() - SEEN_TO.keys() - {"enable_modelarts", "data"})
    if unknown:
        get_logger().warning(f"nobody here knows {', '.join(unknown)}: left alone")
    options = JobOptions(**{name: str(value) for name, value in told.items() if value not in (None, "")})
    return options, Told(
        flags=settings,
        entries=[entry for entry in entries if _is_setting(entry.name)],
        from_document=is_true(flags.get("enable_modelarts", chosen.get("enable_modelarts", ""))),
    )


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _is_setting(name: str) -> bool:
    """Whether an option is for whoever does the work: the others are the job's own, or seen to."""
    is_own = name in {"enable_modelarts", "data", *OWN, *SEEN_TO}
    return not is_own and (name in Settings.model_fields or name in BY_OLD_NAME)


def describe(plan: JobPlan) -> str:
    """One line about who takes part."""
    if plan.is_started:
        return f"job: rank {plan.rank} of {plan.world_size} (told by {plan.source})"
    devices = {0: "all devices", 1: "one device"}.get(plan.devices, f"{plan.devices} devices")
    nodes = f", node {plan.node_rank} of {plan.nnodes}, meeting at {plan.master}" if plan.nnodes > 1 else ""
    source = f" (told by {plan.source})" if plan.source != NO_PLATFORM else ""
    return f"job: {devices} of this machine{nodes}{source}"


def train_job(options: JobOptions, told: Told, plan: JobPlan) -> JobResult:
    """Data in, train or go on, results out."""
    from lookonce.workflows.train import train

    settings = settings_of_job(told, plan)  # what is wrong with them is told before gigabytes are fetched
    data = stage_data(options)
    runs = output_folder(options)
    folder = runs / options.name
    begun = bring_back(options, folder)
    if options.checkpoint_url and not begun:
        settings["weights"] = str(staged_weights(options))
    if options.names and not begun:
        settings["names"] = str(staged_names(options, Path(settings.get("weights", ""))))
    with results_to(options, folder, sends=is_first(plan, settings)) as sending:
        result = train(**settings, data=str(data), runs=str(runs), run=options.name)
    return JobResult(folder=folder, exit_code=exit_code(sending, result.exit_code))


def is_first(plan: JobPlan, settings: Mapping[str, Any]) -> bool:
    """Whether this machine writes for all, as the platform tells or somebody typed."""
    return plan.is_first and not int(settings.get("node_rank") or 0)


def settings_of_job(told: Told, plan: JobPlan) -> dict[str, Any]:
    """What `train` is given: everything that somebody chose, by our names.

    Typed before the platform before the file: of devices, nnodes and so on the platform's count, unless typed.
    """
    typed, entries = dict(told.flags), told.entries
    names = [*typed, *(entry.name for entry in entries)]
    if told.from_document and "recipe" not in names:
        typed["recipe"] = DOCUMENTS_RECIPE
        get_logger().info("recipe modelzoo, as enable_modelarts is the model zoo's name; --recipe modern overrides it")
    resolved = resolve(typed, file=entries)
    for note in resolved.notes:
        get_logger().warning(note)
    chosen = {name: getattr(resolved.settings, name) for name, origin in resolved.origins.items() if is_said(origin)}
    by_platform = platform_settings(resolved.settings.device, plan)
    for name in by_platform.keys() & chosen.keys():
        if not plan.tells or resolved.origins[name].startswith(COMMAND_LINE):
            del by_platform[name]
        elif by_platform[name] != chosen[name]:
            said = f"{name}={chosen[name]} ({resolved.origins[name]})"
            get_logger().warning(f"{name}={by_platform[name]} (told by {plan.source}) is taken, not {said}")
    return {"recipe": resolved.settings.recipe} | chosen | by_platform


def platform_settings(device: str, plan: JobPlan) -> dict[str, Any]:
    """devices, nnodes and so on as the platform tells; without a word from it, all devices of this machine."""
    from lookonce.distributed import count_devices

    return plan.settings(max(count_devices(device.partition(":")[0])[1], 1))


def eval_job(options: JobOptions, told: Told, plan: JobPlan) -> JobResult:
    """Data and weights in, COCO's numbers out; the pictures are shared out to all devices that take part."""
    from lookonce.workflows.evaluate import evaluate

    if not options.checkpoint_url:
        raise SettingsError(
            "checkpoint_url: not given; an evaluation needs the weights: --checkpoint_url s3://...",
            setting="checkpoint_url",
        )
    typed = of_evaluation(told.flags, tell=True)
    of_file = of_evaluation({entry.name: entry.value for entry in told.entries if not entry.is_default})
    by_platform = platform_settings(str((of_file | typed).get("device", "auto")), plan)
    passed = (of_file | by_platform if plan.tells else by_platform | of_file) | typed
    folder = output_folder(options) / options.name
    weights = staged_weights(options)
    with results_to(options, folder, sends=is_first(plan, passed)) as sending:
        names = staged_names(options, weights)
        evaluation = evaluate(
            weights=weights, names=names, data=stage_data(options), split=options.split, output=folder, **passed
        )
    return JobResult(folder=folder, exit_code=exit_code(sending, 0), evaluation=evaluation)


def as_text(result: JobResult, layout: Layout = PLAIN) -> Iterator[str]:
    """What `lookonce eval` shows; a training has said all in its log."""
    if result.evaluation is not None:
        from lookonce.workflows import evaluate

        yield from evaluate.as_text(result.evaluation, layout)


def of_evaluation(told: Mapping[str, Any], *, tell: bool = False) -> dict[str, Any]:
    """Which of the options lookonce eval has too, by their names there and in their kinds; tell: notes the others."""
    ours = {name: value for name, value in told.items() if name in OF_EVALUATION}
    others = {name for name in told if name not in ours and not _is_of_evaluation(name)}
    meant = for_verb(
        {name: value for name, value in told.items() if name not in others | ours.keys()}, OF_EVALUATION, "eval"
    )
    if tell and others:
        get_logger().warning(f"of training only, and left alone: {', '.join(sorted(others))}")
    passed = {}
    for name, value in {**meant.settings, **ours}.items():
        try:
            passed[name] = OF_EVALUATION[name](value)
        except ValueError:
            raise SettingsError(f"{name}={value}: expected a number", setting=name, value=value) from None
    return passed


def _is_of_evaluation(name: str) -> bool:
    alias = BY_OLD_NAME.get(name)
    return alias is not None and alias.means_in("eval", OF_EVALUATION)


def staged_weights(options: JobOptions) -> Path:
    """What lies at checkpoint_url, on this machine: a file, a folder, or the file in it that `pretrained` names."""
    found = local_weights(options.checkpoint_url, options.place("load_path", "checkpoint_path"))
    name = Path(options.pretrained).name
    if not name or not found.is_dir() or (found / name).exists():
        return found / name if name and found.is_dir() else found
    held = sorted(path.name for path in found.iterdir() if not path.name.startswith("."))
    raise WeightsError(
        f"pretrained: {name} is not at {options.checkpoint_url}, which holds {few(held)}; "
        "name one of these, or leave it out for the whole folder",
        setting="pretrained",
        value=name,
    )


def staged_names(options: JobOptions, weights: Path) -> Path | None:
    """The list of class names: beside the weights, as it was fetched with them, or where it says."""
    if not options.names:
        return None
    beside = weights.parent / Path(options.names).name
    return beside if beside.is_file() else Path(options.names)


def output_folder(options: JobOptions) -> Path:
    """Where runs are made on this machine: train_url itself where it is a folder, for nothing has to be sent then."""
    if options.train_url and not is_remote(options.train_url):
        return Path(options.train_url)
    return options.place("output_path", "train")


def stage_data(options: JobOptions) -> Path:
    """The data set on this machine: fetched, unpacked, and the folder in it that is one.

    A .zip is unpacked below data_path, and never where it lies: a data_url on this machine is somebody's own folder.
    """
    place = options.place("data_path", "data")
    root = local_data(options.data_url, place) if options.data_url else place
    if options.data_dir and Path(options.data_dir).is_dir():
        root = Path(options.data_dir)
    elif is_true(options.need_modelarts_dataset_unzip):
        root = _zip_in(root, options, place)
    if options.data_dir and not options.data_url and not root.exists():
        root = Path(options.data_dir)  # what is wrong with it is said by whoever opens it
    return _data_set_in(root)


def _zip_in(root: Path, options: JobOptions, place: Path) -> Path:
    """A folder that holds one .zip (or the one that is named) and no data set yet -> what is in it."""
    if not root.is_dir() or _is_data_set(root) or _data_set_in(root) != root:
        return root
    archives = sorted(root.glob("*.zip"))
    name = options.modelarts_dataset_unzip_name
    named = [path for path in archives if not name or path.stem == name]
    if len(named) == 1:
        return unpacked(named[0], place)
    if archives:
        raise SettingsError(
            f"modelarts_dataset_unzip_name: {name or 'not given'}, and {root} holds "
            f"{few([path.name for path in archives])}; name one of these, without .zip",
            setting="modelarts_dataset_unzip_name",
            value=name,
        )
    return root


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
