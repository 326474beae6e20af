"""Verbs beside train on several devices: each process takes its share of the pictures, the main one tells and writes.

Imports without PyTorch: several processes need it to meet, one does without.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from lookonce.config.resolve import resolve
from lookonce.config.schema import Settings
from lookonce.cores import usable_threads
from lookonce.errors import MissingExtra, SettingsError
from lookonce.log import logging_to, silenced
from lookonce.rank_group import RankGroup

if TYPE_CHECKING:
    from lookonce.launch import LauncherConnection

Result = TypeVar("Result")
OnProgress = Callable[[int, int], None]
AFTER_FAILURE = "Results are written when all pictures are done, so there are none; the same command begins anew"


@dataclass(frozen=True, kw_only=True)
class RanksRequest:
    """Options of a verb that several processes can share; they are settings, which `lookonce config` explains."""

    devices: int | None = None
    nnodes: str | None = None
    node_rank: int | None = None
    rdzv_endpoint: str | None = None
    rank_timeout: float | None = None

    def several(self) -> Settings | None:
        """The settings of several processes, checked; None where this one works alone."""
        settings = resolve({field.name: getattr(self, field.name) for field in fields(RanksRequest)}).settings
        if ":" in settings.nnodes:
            raise SettingsError(
                f"nnodes: {settings.nnodes} lets machines come and go, which only training can; say how many there are",
                setting="nnodes",
                value=settings.nnodes,
            )
        is_alone = settings.devices == 1 and settings.nnodes == "1" and os.environ.get("WORLD_SIZE", "1") == "1"
        return None if is_alone else settings.model_copy(update={"max_restarts": 0})


def in_ranks(
    settings: Settings,
    device: str,
    function: Callable[..., Result],
    options: Mapping[str, Any],
    *,
    on_progress: OnProgress | None = None,
) -> Result:
    """function(**options, rank_group=...) in several processes, with an on_progress where one is given.

    They are started here unless this is one of them. function is one of a module; what it returns in the first process
    of this machine is returned.
    """
    settings = settings.model_copy(update={"device": device})
    try:
        from lookonce import launch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("devices: more than one process", "train") from error
    if not launch.is_wanted(settings):
        progress = {} if on_progress is None else {"on_progress": on_progress}
        return _joined(settings, function, {**options, **progress})
    task = {"settings": settings, "function": function, "options": options, "tells": on_progress is not None}
    result: Result = launch.launch(settings, as_rank, task, after_failure=AFTER_FAILURE, on_progress=on_progress)
    return result


def as_rank(
    line: "LauncherConnection",
    *,
    settings: Settings,
    function: Callable[..., Result],
    options: Mapping[str, Any],
    tells: bool,
) -> Result:
    """What each process does that `in_ranks` starts."""
    # On exactly one thread PyTorch gives 1x1 convolutions to another library than on two or more (use_mkldnn in
    # ATen/native/Convolution.cpp), and their last bits differ: so not one where a single process has more.
    os.environ["OMP_NUM_THREADS"] = str(max(line.task.threads, min(2, usable_threads())))
    return _joined(settings, function, {**options, **({"on_progress": line.has_come} if tells else {})})


def _joined(settings: Settings, function: Callable[..., Result], options: Mapping[str, Any]) -> Result:
    from lookonce.distributed import is_main, process_group, resolve_device

    device = resolve_device(settings.device)
    with (
        logging_to(),
        process_group(device, machine=settings.node_rank, timeout_seconds=settings.rank_timeout),
        silenced(not is_main()),
    ):
        return function(**options, rank_group=own_rank_group())


def own_rank_group() -> RankGroup:
    """That of this process among all ranks."""
    from lookonce.distributed import broadcast_object, gather_objects, rank, world_size

    return RankGroup(rank=rank(), size=world_size(), gather=gather_objects, broadcast=broadcast_object)
