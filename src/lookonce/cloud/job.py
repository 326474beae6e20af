"""`lookonce job`: a cloud job: download the data, train or evaluate, upload the results; resume after a restart."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookonce.cloud.plan import NO_PLATFORM, JobPlan, make_plan
from lookonce.cloud.staging import (
    JobOptions,
    bring_back,
    exit_code,
    output_folder,
    results_to,
    stage_data,
    staged_names,
    staged_weights,
)
from lookonce.errors import SettingsError
from lookonce.layout import PLAIN, Layout, Printed
from lookonce.log import get_logger, logging_to
from lookonce.settings.aliases import BY_OLD_NAME, for_verb, is_true
from lookonce.settings.names import suggestion
from lookonce.settings.resolve import COMMAND_LINE, DOCUMENTS_RECIPE, is_said, require_known, resolve
from lookonce.settings.schema import Settings
from lookonce.settings.yaml_file import Entry, read_entries

if TYPE_CHECKING:
    from lookonce.workflows.evaluate import Evaluation

# Options that the job sets itself -> why. Platform pages may pass them; they are ignored with a warning.
SET_BY_JOB = {
    "runs": "set output_path, the parent folder of runs in a job",
    "ckpt_path": "set output_path, the parent folder of runs in a job",
    "resume": "a job always resumes where it stopped",
    "rank": "the launcher sets it for each process",
    "is_distributed": "the platform's environment variables set the number of devices; devices=N overrides them",
}
# Options that task=eval passes to lookonce eval -> their type.
OF_EVALUATION: dict[str, Callable[[Any], Any]] = {
    "image_size": lambda size: str(size).strip("[]()"),  # a list, in a file
    "iou_threshold": float,
    "score_threshold": float,
    "max_detections": int,
    "multi_label": is_true,
    "agnostic": is_true,
    "batch_size": int,
    "runtime": str,
    "device": str,
    "devices": int,
    "nnodes": str,
    "node_rank": int,
    "rdzv_endpoint": str,
    "rank_timeout": float,
}


OWN = frozenset(field.name for field in fields(JobOptions))


@dataclass(frozen=True, kw_only=True)
class JobResult(Printed):
    """exit_code: 0, 75 (stopped, the same command resumes) or 74 (finished, but some results are not uploaded).
    is_main: False on all ranks but 0."""

    folder: Path
    exit_code: int
    evaluation: "Evaluation | None" = None
    is_main: bool = True


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

    The data are downloaded (and a .zip unpacked) once per node. Results are uploaded during the run. After an
    interruption the same command resumes where the last one stopped. The number of nodes and devices is read from the
    environment of ModelArts, an Ascend rank table or torchrun.

    All settings of lookonce train are accepted too, under their own names or the model zoo's. Unknown options are
    ignored with a warning, because platforms add arguments of their own. Exit status 75: stopped, the same command
    resumes. 74: finished, but some results are not at train_url; the same command uploads the rest.

    Parameters
    ----------
    task
        train or eval. Default: train.
    data_url
        Labelled images: s3://BUCKET/KEY, obs://BUCKET/KEY or a path of a folder, a .zip, or shards. Default: the
        environment variable of this name; likewise for train_url and checkpoint_url.
    train_url
        Destination of the results: s3://, obs:// or a path.
    checkpoint_url
        Weights to start from, or to evaluate: s3://, obs:// or a path.
    data_path
        Local folder for the data; default: /cache/data if there is /cache, else ./cache/data.
    output_path
        Local folder for runs and evaluations; default: train_url if it is a path, else /cache/train or ./cache/train.
    load_path
        Local folder for the weights; default: /cache/checkpoint_path or ./cache/checkpoint_path.
    data_dir
        Folder of the data set: a path, or a folder below data_path.
    pretrained
        File name of the weights, if checkpoint_url holds several files; a folder before the name is ignored.
    names
        File with the class names, one per line, for a .ckpt or .weights file that does not contain them.
    need_modelarts_dataset_unzip
        False disables unpacking of a .zip with the data. Default: True.
    modelarts_dataset_unzip_name
        Name of the .zip to unpack, without .zip, if there are several.
    run
        Name of the run below train_url; its evaluation is RUN-eval. Default: job, and eval for an evaluation alone.
    split
        Split to evaluate. Default: val.
    """
    given = {name: value for name, value in locals().items() if name != "flags"} | flags
    with logging_to():
        options, request = read_flags({name: value for name, value in given.items() if value is not None}, os.environ)
        plan = make_plan(os.environ)
        get_logger().info(describe(plan))
        os.environ.update(plan.environment())
        if options.task == "train":
            return train_job(options, request, plan)
        if options.task == "eval":
            return eval_job(options, request, plan)
        raise SettingsError(f"task: {options.task!r}; expected train or eval", setting="task", value=options.task)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of the training or evaluation that a job runs.

    flags: typed options; entries: those of a YAML file; from_document: whether the model zoo's enable_modelarts is
    among them, which implies recipe modelzoo.
    """

    flags: Mapping[str, Any]
    entries: Sequence[Entry] = ()
    from_document: bool = False


def read_flags(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[JobOptions, Request]:
    """Split options into those of the job and those of the training or evaluation.

    The command line overrides the environment, which overrides a YAML `file`; values of the file at the model zoo's
    default count as not given.
    """
    flags = {name.replace("-", "_"): value for name, value in flags.items()}
    file = flags.pop("file", flags.pop("config_path", None))
    entries = read_entries(Path(file)) if file else []
    require_known(entries, OWN)
    chosen = {entry.name: entry.value for entry in entries if entry.value is not None and not entry.is_default}
    own = {name: value for name, value in chosen.items() if name in OWN}
    for name in (name for name in OWN if name.endswith("_url")):
        own |= {name: value} if (value := environment.get(name) or environment.get(name.upper())) else {}
    own |= {name: value for name, value in flags.items() if name in OWN}
    own["data_url"] = own.get("data_url") or flags.get("data") or chosen.get("data", "")
    for name in sorted(SET_BY_JOB.keys() & (flags.keys() | chosen.keys())):
        get_logger().warning(f"{name}: {flags.get(name, chosen.get(name))}; ignored; {SET_BY_JOB[name]}")
    settings = {name: value for name, value in flags.items() if _is_setting(name)}
    unknown = sorted(flags.keys() - OWN - settings.keys() - SET_BY_JOB.keys() - {"enable_modelarts", "data"})
    for name in unknown:  # platforms add their own
        known = [*OWN, *Settings.model_fields, *BY_OLD_NAME]
        get_logger().warning(f"{name}: unknown option, ignored{suggestion(name, known)}")
    options = JobOptions(**{name: str(value) for name, value in own.items() if value not in (None, "")})
    return options, Request(
        flags=settings,
        entries=[entry for entry in entries if _is_setting(entry.name)],
        from_document=is_true(flags.get("enable_modelarts", chosen.get("enable_modelarts", ""))),
    )


def _is_setting(name: str) -> bool:
    """Whether an option belongs to the training or evaluation, not to the job itself."""
    is_own = name in {"enable_modelarts", "data", *OWN, *SET_BY_JOB}
    return not is_own and (name in Settings.model_fields or name in BY_OLD_NAME)


def describe(plan: JobPlan) -> str:
    """One log line on the ranks, devices and nodes of the job."""
    if plan.is_started:
        return f"job: rank {plan.rank} of {plan.world_size} (from {plan.source})"
    devices = {0: "all devices", 1: "1 device"}.get(plan.devices, f"{plan.devices} devices")
    nodes = f", node {plan.node_rank} of {plan.nnodes}, rendezvous at {plan.master}" if plan.nnodes > 1 else ""
    source = f" (from {plan.source})" if plan.source != NO_PLATFORM else ""
    return f"job: {devices} of this node{nodes}{source}"


def train_job(options: JobOptions, request: Request, plan: JobPlan) -> JobResult:
    from lookonce.workflows.train import train

    settings = settings_of_job(request, plan)  # raises for invalid settings before gigabytes are downloaded
    runs = output_folder(options)
    folder = runs / options.name
    begun = bring_back(options, folder)  # before the data: a train_url that is not there is reported at once
    _, data = stage_data(options)
    if options.checkpoint_url and not begun:
        settings["weights"] = str(staged_weights(options))
    if options.names and not begun:
        settings["names"] = str(staged_names(options, Path(settings.get("weights", ""))))
    with results_to(options, folder, sends=is_first(plan, settings)) as sending:
        result = train(**settings, data=data, runs=str(runs), run=options.name)
    return JobResult(folder=folder, exit_code=exit_code(sending, result.exit_code), is_main=result.is_main)


def is_first(plan: JobPlan, settings: Mapping[str, Any]) -> bool:
    """Whether this is node 0, which uploads: by the platform's plan, or by a typed node_rank."""
    return plan.is_first and not int(settings.get("node_rank") or 0)


def settings_of_job(request: Request, plan: JobPlan) -> dict[str, Any]:
    """Arguments of `train`: all settings that the user chose, by our names, and the platform's.

    Typed options override the platform (devices, nnodes and so on), which overrides the file.
    """
    typed, entries = dict(request.flags), request.entries
    names = [*typed, *(entry.name for entry in entries)]
    if request.from_document and "recipe" not in names:
        typed["recipe"] = DOCUMENTS_RECIPE
        get_logger().info("recipe modelzoo is implied by enable_modelarts; --recipe modern overrides it")
    resolved = resolve(typed, file=entries)
    for note in resolved.notes:
        get_logger().warning(note)
    chosen = {name: getattr(resolved.settings, name) for name, origin in resolved.origins.items() if is_said(origin)}
    by_platform = platform_settings(resolved.settings.device, plan)
    for name in by_platform.keys() & chosen.keys():
        if not plan.is_known or resolved.origins[name].startswith(COMMAND_LINE):
            del by_platform[name]
        elif by_platform[name] != chosen[name]:
            ignored = f"{name}={chosen[name]} ({resolved.origins[name]})"
            get_logger().warning(f"{name}={by_platform[name]} (from {plan.source}) is taken, not {ignored}")
    return {"recipe": resolved.settings.recipe} | chosen | by_platform


def platform_settings(device: str, plan: JobPlan) -> dict[str, Any]:
    """devices, nnodes and so on from the platform; if it gives none, all devices of this machine."""
    from lookonce.devices import count_devices

    return plan.settings(max(count_devices(device.partition(":")[0])[1], 1))


def eval_job(options: JobOptions, request: Request, plan: JobPlan) -> JobResult:
    """Download data and weights, evaluate on all devices, upload the metrics."""
    from lookonce.workflows.evaluate import evaluate

    if not options.checkpoint_url:
        problem = "checkpoint_url: not given; expected the weights to evaluate; add --checkpoint_url s3://..."
        raise SettingsError(problem, setting="checkpoint_url")
    typed = of_evaluation(request.flags, warn=True)
    of_file = of_evaluation({entry.name: entry.value for entry in request.entries if not entry.is_default})
    by_platform = platform_settings(str((of_file | typed).get("device", "auto")), plan)
    passed = (of_file | by_platform if plan.is_known else by_platform | of_file) | typed
    folder = output_folder(options) / options.name
    weights = staged_weights(options)
    with results_to(options, folder, sends=is_first(plan, passed)) as sending:
        names = staged_names(options, weights)
        evaluation = evaluate(
            weights=weights, names=names, data=stage_data(options)[0], split=options.split, output=folder, **passed
        )
    status = exit_code(sending, 0)
    return JobResult(folder=folder, exit_code=status, evaluation=evaluation, is_main=evaluation.is_main)


def as_text(result: JobResult, layout: Layout = PLAIN) -> Iterator[str]:
    """What `lookonce eval` or `lookonce train` shows."""
    if result.evaluation is None:
        yield f"written: {result.folder}"
        return
    from lookonce.workflows import evaluate

    yield from evaluate.as_text(result.evaluation, layout)


def of_evaluation(given: Mapping[str, Any], *, warn: bool = False) -> dict[str, Any]:
    """The options that lookonce eval has too, by its names and with its types; warn: logs the others."""
    given = {name: value for name, value in given.items() if value is not None}
    ours = {name: value for name, value in given.items() if name in OF_EVALUATION}
    rest = {name: value for name, value in given.items() if name not in ours}
    others = {name for name in rest if name not in BY_OLD_NAME or not BY_OLD_NAME[name].means_in("eval", OF_EVALUATION)}
    meant = for_verb({name: rest[name] for name in rest.keys() - others}, OF_EVALUATION, "eval")
    if warn and others:
        get_logger().warning(f"training options ignored in an evaluation: {', '.join(sorted(others))}")
    passed = {}
    for name, value in {**meant.settings, **ours}.items():
        try:
            passed[name] = OF_EVALUATION[name](value)
        except (ValueError, TypeError):
            raise SettingsError.of(name, value, "expected a number") from None
    return passed
