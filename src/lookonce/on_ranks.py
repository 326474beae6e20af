"""Verbs other than train on several devices: each rank processes its shard of the images; rank 0 logs and writes.

Imports without PyTorch: only several processes need it, for their collectives.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from lookonce.cores import usable_threads
from lookonce.errors import SettingsError, needing_extra
from lookonce.log import logging_to, silenced
from lookonce.rank_group import RankGroup
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings

if TYPE_CHECKING:
    from lookonce.launch import LauncherConnection

Result = TypeVar("Result")
OnProgress = Callable[[int, int], None]
AFTER_FAILURE = "Results are written after the last image, so none were written; run the same command again"


@dataclass(frozen=True, kw_only=True)
class RanksRequest:
    """Settings of `lookonce config` that verbs for several processes also accept."""

    devices: int | None = None
    nnodes: str | None = None
    node_rank: int | None = None
    rdzv_endpoint: str | None = None
    rank_timeout: float | None = None

    def several(self) -> Settings | None:
        """Checked settings for several processes; None if this process works alone."""
        given = {field.name: getattr(self, field.name) for field in fields(RanksRequest)}
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if is_alone and set(given.values()) == {None}:
            return None  # as with the defaults; resolving them takes 0.03 s
        settings = resolve(given).settings
        if ":" in settings.nnodes:
            expected = "expected one number, since only training allows a range of nodes; use e.g. nnodes="
            raise SettingsError.of("nnodes", settings.nnodes, expected + settings.nnodes.rpartition(":")[2])
        is_alone = is_alone and settings.devices == 1 and settings.nnodes == "1"
        return None if is_alone else settings.model_copy(update={"max_restarts": 0})


def in_ranks(
    settings: Settings,
    device: str,
    function: Callable[..., Result],
    options: Mapping[str, Any],
    *,
    on_progress: OnProgress | None = None,
) -> Result:
    """Call function(**options, rank_group=...) in several processes, with on_progress if one is given.

    The processes are started here unless this process is one of them. function must be importable from a module.
    The result is that of local rank 0.
    """
    settings = settings.model_copy(update={"device": device})
    with needing_extra("devices: more than one process", "train", "torch"):
        from lookonce import launch
    if not launch.is_wanted(settings):
        progress = {} if on_progress is None else {"on_progress": on_progress}
        return _joined(settings, function, {**options, **progress})
    task = {"settings": settings, "function": function, "options": options, "reports": on_progress is not None}
    result: Result = launch.launch(settings, as_rank, task, after_failure=AFTER_FAILURE, on_progress=on_progress)
    return result


def as_rank(
    line: "LauncherConnection",
    *,
    settings: Settings,
    function: Callable[..., Result],
    options: Mapping[str, Any],
    reports: bool,
) -> Result:
    """Main function of each process that `in_ranks` starts. reports: whether to report progress to the launcher."""
    # With exactly one thread PyTorch computes 1x1 convolutions with another library than with two or more (use_mkldnn
    # in ATen/native/Convolution.cpp), and the last bits differ. So use two threads if a single process would use more.
    os.environ["OMP_NUM_THREADS"] = str(max(line.task.threads, min(2, usable_threads())))
    return _joined(settings, function, {**options, **({"on_progress": line.report_progress} if reports else {})})


def _joined(settings: Settings, function: Callable[..., Result], options: Mapping[str, Any]) -> Result:
    from lookonce.devices import resolve_device
    from lookonce.distributed import is_main, process_group

    device = resolve_device(settings.device)
    with (
        logging_to(),
        process_group(device, machine=settings.node_rank, timeout_seconds=settings.rank_timeout),
        silenced(not is_main()),
    ):
        return function(**options, rank_group=own_rank_group())


def own_rank_group() -> RankGroup:
    from lookonce.distributed import broadcast_object, gather_objects, gather_objects_to_main, rank, world_size

    return RankGroup(
        rank=rank(),
        size=world_size(),
        gather=gather_objects,
        gather_to_main=gather_objects_to_main,
        broadcast=broadcast_object,
    )
