"""The nodes of a job, read from a platform's environment: their number, the rank of this one, the rendezvous.

The first of these sources that is present is used:

    torchrun (also MA_RUN_METHOD=torchrun)   it has started the processes
    RANK_TABLE_FILE                          Ascend: servers and their devices; with RANK_ID one process per card
    RANK_SIZE, RANK_ID, DEVICE_ID            one process per card, without a table
    VC_WORKER_HOSTS, VC_TASK_INDEX           ModelArts today: MA_NUM_HOSTS, MA_NUM_GPUS, MA_CURRENT_IP
    BATCH_WORKER_HOSTS, DLS_TASK_INDEX       ModelArts before: DLS_TASK_NUMBER, BATCH_CURRENT_HOST, ...
    none of these                            this machine, with the devices it has
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from lookonce.errors import SettingsError
from lookonce.parsed import parse_json
from lookonce.settings.names import counted
from lookonce.storage import read_text_file

NO_PLATFORM = "no platform"  # source of a plan
PORT = 29500  # torchrun's own default
HOSTS = ("VC_WORKER_HOSTS", "BATCH_WORKER_HOSTS", "DLS_WORKER_HOSTS")
INDEX = ("VC_TASK_INDEX", "DLS_TASK_INDEX", "BATCH_TASK_INDEX")
NUM_HOSTS = ("MA_NUM_HOSTS", "DLS_TASK_NUMBER", "BATCH_TASK_NUMBER")
OWN_ADDRESS = ("MA_CURRENT_IP", "BATCH_CURRENT_HOST", "BATCH_CURRENT_IP")
NUM_CARDS = ("MA_NUM_GPUS", "BATCH_NUM_GPUS")


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """devices: processes of this node, 0 for one per device. master, port: address of node 0 ("" for one node).

    rank, device: rank and card of this process if the platform starts one process per card, else None.
    """

    source: str
    devices: int = 0
    nnodes: int = 1
    node_rank: int = 0
    master: str = ""
    port: int = PORT
    rank: int | None = None
    device: int | None = None

    @property
    def is_started(self) -> bool:
        """Whether the platform has started one process per card already."""
        return self.rank is not None

    @property
    def is_known(self) -> bool:
        """Whether the platform gives the number of devices."""
        return self.source != NO_PLATFORM or self.devices > 0

    @property
    def is_first(self) -> bool:
        """Whether this process uploads results: it is rank 0, or it starts rank 0."""
        return self.node_rank == 0 if self.rank is None else self.rank == 0

    @property
    def world_size(self) -> int:
        return self.devices * self.nnodes

    def settings(self, num_devices: int) -> dict[str, Any]:
        """Settings of `train`: devices, nnodes, node_rank, rdzv_endpoint. num_devices: of this machine, at least 1."""
        if self.is_started:
            return {}
        several = {
            "nnodes": str(self.nnodes),
            "node_rank": self.node_rank,
            "rdzv_endpoint": f"{self.master}:{self.port}",
        }
        return {"devices": self.devices or num_devices, **(several if self.nnodes > 1 else {})}

    def environment(self) -> dict[str, str]:
        """torchrun's environment variables, for a process that the platform has started without torchrun."""
        if not self.is_started or self.source == "torchrun":
            return {}
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.device),
            "LOCAL_WORLD_SIZE": str(self.devices),
            "MASTER_ADDR": self.master or "127.0.0.1",
            "MASTER_PORT": str(self.port),
        }


def make_plan(environment: Mapping[str, str], own_addresses: Callable[[], Sequence[str]] | None = None) -> JobPlan:
    """The plan that the environment describes. SettingsError names contradictory variables."""
    if "TORCHELASTIC_RUN_ID" in environment or {"WORLD_SIZE", "RANK", "MASTER_ADDR"} <= environment.keys():
        plan = _torchrun(environment)
    elif path := environment.get("RANK_TABLE_FILE"):
        plan = _rank_table(Path(path), environment, own_addresses or addresses_of_this_host)
    elif _number(environment, ("RANK_SIZE",), 1) > 1:
        plan = _one_process_a_card(environment)
    elif _first(environment, HOSTS) or _number(environment, NUM_HOSTS, 1) > 1:
        plan = _hosts(environment)
    else:
        plan = JobPlan(source=NO_PLATFORM, devices=_number(environment, NUM_CARDS, 0))
    return replace(plan, port=_number(environment, ("MASTER_PORT",), PORT))


def addresses_of_this_host() -> list[str]:
    name = socket.gethostname()
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except OSError:
        found = set()
    return [name, *sorted(found)]


def _torchrun(environment: Mapping[str, str]) -> JobPlan:
    local_size, rank = max(_number(environment, ("LOCAL_WORLD_SIZE",), 1), 1), _number(environment, ("RANK",), 0)
    return JobPlan(
        source="torchrun",
        devices=local_size,
        nnodes=max(_number(environment, ("WORLD_SIZE",), 1) // local_size, 1),
        node_rank=_number(environment, ("GROUP_RANK",), rank if local_size == 1 else 0),
        master=environment.get("MASTER_ADDR", ""),
        rank=rank,
        device=_number(environment, ("LOCAL_RANK",), 0),
    )


def _hosts(environment: Mapping[str, str]) -> JobPlan:
    hosts = [host.strip() for host in _first(environment, HOSTS).split(",") if host.strip()]
    nnodes = _number(environment, NUM_HOSTS, len(hosts) or 1)
    if hosts and len(hosts) != nnodes:
        expected = f"expected {counted(nnodes, 'host')}, as in {_name(environment, NUM_HOSTS)}"
        raise SettingsError.of(_name(environment, HOSTS), ", ".join(hosts), expected)
    if nnodes == 1:
        return JobPlan(source="hosts", devices=_number(environment, NUM_CARDS, 0))
    if not hosts:
        expected = f"expected the host names too; set one of {', '.join(HOSTS)}"
        raise SettingsError.of(_name(environment, NUM_HOSTS), nnodes, expected)
    return JobPlan(
        source="hosts",
        devices=_number(environment, NUM_CARDS, 0),
        nnodes=nnodes,
        node_rank=_own_index(environment, hosts),
        master=hosts[0].rpartition(":")[0] or hosts[0],
    )


def _own_index(
    environment: Mapping[str, str], hosts: Sequence[str], addresses: Sequence[str] = (), **fields: Any
) -> int:
    """Which of the hosts this machine is. addresses: its own, beside that of the environment; fields: of the error."""
    if _first(environment, INDEX):
        index = _number(environment, INDEX, 0)
        if index >= len(hosts):
            expected = f"expected 0 to {len(hosts) - 1}, the index of a host"
            raise SettingsError.of(_name(environment, INDEX), index, expected)
        return index
    own = {_first(environment, OWN_ADDRESS), *addresses}
    for index, host in enumerate(hosts):
        if host in own:
            return index
    expected = f"expected one of the hosts {', '.join(hosts)}; set {INDEX[0]} to the index of this host, from 0"
    raise SettingsError.of(OWN_ADDRESS[0], ", ".join(sorted(own)), expected, **fields)


def _one_process_a_card(environment: Mapping[str, str]) -> JobPlan:
    """The cards of one node; several nodes need a rank table."""
    size, rank = _number(environment, ("RANK_SIZE",), 1), _number(environment, ("RANK_ID",), 0)
    if rank >= size:
        raise SettingsError.of("RANK_ID", rank, f"expected 0 to {size - 1}, because RANK_SIZE is {size}")
    device = _number(environment, ("DEVICE_ID", "ASCEND_DEVICE_ID"), rank)
    return JobPlan(source="RANK_SIZE", devices=size, rank=rank, device=device)


@dataclass(frozen=True, kw_only=True)
class _Server:
    """cards: rank -> device number."""

    address: str
    cards: Mapping[int, int]


def _rank_table(path: Path, environment: Mapping[str, str], addresses: Callable[[], Sequence[str]]) -> JobPlan:
    servers = _read_rank_table(path)
    counts = {len(server.cards) for server in servers}
    if len(counts) != 1:
        raise SettingsError.at(path, f"its servers have {sorted(counts)} devices; expected the same number on each")
    devices = counts.pop()
    master = servers[0].address if len(servers) > 1 else ""
    common = JobPlan(source="RANK_TABLE_FILE", devices=devices, nnodes=len(servers), master=master)
    if environment.get("RANK_ID"):
        rank = _number(environment, ("RANK_ID",), 0)
        for number, server in enumerate(servers):
            if rank in server.cards:
                return replace(common, node_rank=number, rank=rank, device=server.cards[rank])
        raise SettingsError.of("RANK_ID", rank, f"expected a rank in {path}: 0 to {devices * len(servers) - 1}")
    hosts = [server.address for server in servers]
    return replace(common, node_rank=_own_index(environment, hosts, addresses(), path=path) if master else 0)


def _read_rank_table(path: Path) -> list[_Server]:
    try:
        table = parse_json(read_text_file(path))
        if "server_list" in table:
            servers = table["server_list"]
            found = [[(card["rank_id"], card["device_id"]) for card in server["device"]] for server in servers]
        else:  # the older format has no rank_id: ranks are numbered by server, then by card
            servers = [instance for group in table["group_list"] for instance in group["instance_list"]]
            ranks = count()
            found = [[(next(ranks), card["device_id"]) for card in server["devices"]] for server in servers]
        return [
            _Server(address=server["server_id"], cards={int(rank): int(device) for rank, device in cards})
            for server, cards in zip(servers, found, strict=True)
        ]
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check the path"
        raise SettingsError.of("RANK_TABLE_FILE", path, problem, path=path) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"is not a rank table ({type(error).__name__}: {error})"
        expected = "expected JSON with server_list, each with server_id and device, or group_list"
        raise SettingsError.of("RANK_TABLE_FILE", path, f"{problem}; {expected}", path=path) from error


def _first(environment: Mapping[str, str], names: Sequence[str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _name(environment: Mapping[str, str], names: Sequence[str]) -> str:
    return next((name for name in names if environment.get(name)), names[0])


def _number(environment: Mapping[str, str], names: Sequence[str], default: int) -> int:
    text = _first(environment, names)
    if text and not text.isdecimal():
        raise SettingsError.of(_name(environment, names), text, "expected a whole number")
    return int(text) if text else default
