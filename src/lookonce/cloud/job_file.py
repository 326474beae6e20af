"""`lookonce job-file`: a cloud job as a file for Kubernetes, Kubeflow Trainer, SkyPilot or dstack."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

from lookonce.cloud.job import read_flags
from lookonce.errors import SettingsError
from lookonce.exit_codes import ExitCode
from lookonce.layout import Printed
from lookonce.settings.names import suggested_value
from lookonce.settings.resolve import resolve


@dataclass(frozen=True, kw_only=True)
class Platform:
    """join: options of `lookonce job` -> text for the template; any_gpu: the platform's words for 16 GB of memory."""

    join: Callable[[Sequence[str]], str]
    any_gpu: str = ""


def _yaml_list(indent: int) -> Callable[[Sequence[str]], str]:
    """Items of a list of a pod's arguments, in which Kubernetes replaces $(NAME), but not $$(NAME)."""

    def join(words: Sequence[str]) -> str:
        return f"\n{' ' * indent}- ".join(json.dumps(word.replace("$(", "$$(")) for word in words)

    return join


PLATFORMS = {
    "kubernetes": Platform(join=_yaml_list(12)),
    "kubeflow": Platform(join=_yaml_list(6)),
    "skypilot": Platform(join=shlex.join, any_gpu="16GB+"),
    "dstack": Platform(join=shlex.join, any_gpu="16GB.."),
}
# Parameter -> (what it must match, in words). Names of runs become DNS names; dstack's are the shortest, 41 characters.
PATTERNS = {
    "run": (r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", "1 to 30 lower-case letters, digits and hyphens, such as night-2"),
    "image": (r"[\w.:/@-]+", "a container image, such as registry.example.com/lookonce:1"),
    "gpu": (r"([A-Za-z][\w-]*)?", "a model of GPU, such as L4"),
    "devices": (r"[1-9]\d*", "a number of at least 1"),
    "nnodes": (r"[1-9]\d*", "a number of at least 1: a job file has a fixed number of nodes"),
}


@dataclass(frozen=True, kw_only=True)
class JobFile(Printed):
    """text: YAML."""

    text: str


def job_file(
    platform: str,
    *,
    image: str = "",
    devices: int = 1,
    nnodes: str = "1",
    gpu: str = "",
    **flags: Any,
) -> JobFile:
    """Print a cloud job as a file for Kubernetes, Kubeflow Trainer, SkyPilot or dstack.

    All other options are those of lookonce job, of which data_url and train_url are required. They are checked here,
    before a machine is rented. A job that is preempted or stopped is started again and resumes.

    Parameters
    ----------
    platform
        kubernetes, kubeflow, skypilot or dstack.
    image
        Container image with lookonce[train,s3]; required.
    devices
        Number of GPUs of each node.
    nnodes
        Number of nodes.
    gpu
        Model of the GPUs for skypilot and dstack, such as L4. Default: any with at least 16 GB.
    """
    if platform not in PLATFORMS:
        expected = f"expected one of {', '.join(PLATFORMS)}{suggested_value(platform, PLATFORMS)}"
        if platform == "slurm":
            expected += "; for Slurm, edit and submit scripts/slurm.sbatch (docs/jobs.md)"
        raise SettingsError.of("platform", platform, expected)
    words = job_options(flags)
    run = str(flags.get("run") or "job")
    for name, value in (("run", run), ("image", image), ("gpu", gpu), ("devices", devices), ("nnodes", nnodes)):
        pattern, expected = PATTERNS[name]
        if not re.fullmatch(pattern, str(value)):
            raise SettingsError.of(name, value, f"expected {expected}")
    template = resources.files("lookonce.cloud") / "job_files" / f"{platform}.yaml"
    text = Template(template.read_text(encoding="utf-8")).substitute(
        name=f"lookonce-{run}",
        image=image,
        devices=devices,
        nnodes=nnodes,
        gpu=f"{gpu or PLATFORMS[platform].any_gpu}:{devices}",
        arguments=PLATFORMS[platform].join(words),
        stopped=int(ExitCode.STOPPED),
        invalid=int(ExitCode.WRONG_USE),
    )
    return JobFile(text=text)


def job_options(flags: dict[str, Any]) -> list[str]:
    """--name=value of each option of `lookonce job`. SettingsError for what the job would refuse, or cannot have."""
    for name in ("file", "config_path", "node_rank", "rdzv_endpoint"):
        if name in flags:
            problem = "a job file cannot contain it; give each setting as an option; the platform knows the nodes"
            raise SettingsError.of(name, flags[name], problem)
    options, request = read_flags(flags, environment={})
    for name in ("data_url", "train_url"):
        if not getattr(options, name):
            expected = "expected s3://BUCKET/KEY, obs://BUCKET/KEY, or a path on the nodes"
            raise SettingsError(f"{name}: not given; {expected}", setting=name)
    if options.task == "train":
        resolve(request.flags)
    return [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]


def as_text(result: JobFile) -> Iterator[str]:
    yield result.text.rstrip("\n")
