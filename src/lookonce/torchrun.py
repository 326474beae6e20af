"""torchrun's agent, which starts the processes of this node, restarts them after a failure, and lets nodes meet."""

import logging
import os
import socket
import time
from collections.abc import Sequence

from lookonce.distributed import RankLost
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import get_logger
from lookonce.settings.schema import Settings


def run_job(settings: Settings, command: Sequence[str]) -> dict[int, int]:
    """Start the command settings.devices times on this node through torchrun, and wait until all processes end.

    If one fails, all are ended and restarted, at most max_restarts times. Returns rank -> exit status of the processes
    that failed in the last start (negative: the signal's number); empty on success. The caller handles signals; if its
    handler raises, the processes get SIGTERM. RankLost: the nodes did not connect.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, launch_agent

    least, _, most = settings.nnodes.partition(":")
    # Not localhost: a bare container resolves no names, not even its own.
    endpoint = settings.rdzv_endpoint or "127.0.0.1:0"
    config = LaunchConfig(
        min_nodes=int(least),
        max_nodes=int(most or least),
        nproc_per_node=settings.devices,
        run_id="lookonce",
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"is_host": settings.node_rank == 0, "join_timeout": max(int(settings.rank_timeout), 1)},
        local_addr=_address_towards(endpoint),
        max_restarts=settings.max_restarts,
        # Without log_dir torchrun makes a folder in /tmp; our logs go to the terminal.
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGHUP",
    )
    # The caller reports failed processes, in fewer lines than torchrun.
    logger = logging.getLogger("torch.distributed.elastic")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        launch_agent(config, command[0], list(command[1:]))
    except ChildFailedError as error:
        return {failed: failure.exitcode for failed, failure in error.failures.items()}
    except RendezvousError as error:
        raise RankLost(
            f"node {settings.node_rank} of {settings.nnodes}: could not connect to all other nodes at {endpoint} "
            f"within {settings.rank_timeout:g} s (rank_timeout), or lost the connection ({type(error).__name__}); "
            "check that all nodes run and can reach this address, or raise rank_timeout"
        ) from error
    finally:
        logger.setLevel(level)
    return {}


def _address_towards(endpoint: str) -> str | None:
    """The local address used to reach host:port; other nodes may not resolve this machine's name. None if unknown."""
    host, _, port = endpoint.rpartition(":")
    try:
        family, kind, *_, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # chooses a route, sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return None  # torchrun raises its own error for this endpoint


def wait_for_first(endpoint: str, timeout_seconds: float) -> None:
    """Wait until node 0 listens at host:port. Node 0 may start minutes later; a pod's name resolves only from then."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError.of("rdzv_endpoint", endpoint, "expected host:port, e.g. first:29500")
    deadline, is_logged = time.monotonic() + timeout_seconds, False
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
            return
        except OSError as error:
            why = error
        if time.monotonic() > deadline:
            raise LookonceError(
                f"rdzv_endpoint: {endpoint} was unreachable for {timeout_seconds:g} s (rank_timeout; {why}); start "
                "lookonce on the node with node_rank 0, which listens there",
                setting="rdzv_endpoint",
                value=endpoint,
            )
        if not is_logged:
            get_logger().info(f"waiting for the node with node_rank 0 at {endpoint} ({why})")
            is_logged = True
        time.sleep(0.5)
