import json
from pathlib import Path
from typing import Any

import pytest
from raised import raises

from lookonce.cloud.plan import JobPlan, make_plan
from lookonce.errors import SettingsError

FOUR = "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4"


def plan(environment: dict[str, str], addresses: tuple[str, ...] = ("here",)) -> JobPlan:
    return make_plan(environment, lambda: addresses)


def table_of(path: Path, *servers: str, cards: int = 8) -> str:
    rank = iter(range(1000))
    content = {
        "version": "1.0",
        "server_count": str(len(servers)),
        "status": "completed",
        "server_list": [
            {
                "server_id": server,
                "device": [
                    {"device_id": str(card), "device_ip": f"192.1.{card}.6", "rank_id": str(next(rank))}
                    for card in range(cards)
                ],
            }
            for server in servers
        ],
    }
    path.write_text(json.dumps(content))
    return str(path)


def test_the_rank_table_that_the_page_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")
    table = tmp_path / "rank_table_2p.json"
    table.write_text(page.partition("```json\n")[2].partition("```")[0])
    assert plan({"RANK_TABLE_FILE": str(table)}).settings(1) == {"devices": 2}


@pytest.mark.parametrize(
    ("environment", "devices", "nnodes", "node_rank", "master"),
    [
        ({}, 0, 1, 0, ""),
        ({"MA_NUM_GPUS": "1"}, 1, 1, 0, ""),
        ({"MA_NUM_HOSTS": "1", "MA_NUM_GPUS": "8", "VC_WORKER_HOSTS": "10.0.0.1", "VC_TASK_INDEX": "0"}, 8, 1, 0, ""),
        (
            {"MA_NUM_HOSTS": "4", "MA_NUM_GPUS": "8", "VC_WORKER_HOSTS": FOUR, "VC_TASK_INDEX": "2"},
            *(8, 4, 2, "10.0.0.1"),
        ),
        ({"MA_NUM_HOSTS": "4", "VC_WORKER_HOSTS": FOUR, "MA_CURRENT_IP": "10.0.0.4"}, 0, 4, 3, "10.0.0.1"),
        (
            {"DLS_TASK_NUMBER": "2", "DLS_TASK_INDEX": "1", "BATCH_WORKER_HOSTS": "a:6000,b:6000"},
            *(0, 2, 1, "a"),
        ),
    ],
    ids=["nothing", "1 card", "1 x 8", "4 x 8", "by address, cards unknown", "old names"],
)
def test_hosts_and_cards_become_a_plan(
    environment: dict[str, str], devices: int, nnodes: int, node_rank: int, master: str
) -> None:
    made = plan(environment)
    assert (made.devices, made.nnodes, made.node_rank, made.master) == (devices, nnodes, node_rank, master)
    assert not made.is_started
    assert made.environment() == {}


def test_a_plan_becomes_settings_of_train() -> None:
    assert plan({}).settings(2) == {"devices": 2}
    four = plan({"MA_NUM_HOSTS": "4", "MA_NUM_GPUS": "8", "VC_WORKER_HOSTS": FOUR, "VC_TASK_INDEX": "2"})
    assert four.settings(1) == {"devices": 8, "nnodes": "4", "node_rank": 2, "rdzv_endpoint": "10.0.0.1:29500"}


def test_under_torchrun_nothing_is_started_and_nothing_set() -> None:
    environment = {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "8",
        "GROUP_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29400",
        "MA_RUN_METHOD": "torchrun",
        "VC_WORKER_HOSTS": "10.0.0.1,10.0.0.2",
        "VC_TASK_INDEX": "1",
    }
    made = plan(environment)
    assert (made.rank, made.device, made.nnodes, made.node_rank) == (9, 1, 2, 1)
    assert made.settings(8) == {}
    assert made.environment() == {}


def test_a_rank_table_of_one_server(tmp_path: Path) -> None:
    made = plan({"RANK_TABLE_FILE": table_of(tmp_path / "rank_table_8p.json", "10.0.0.1")})
    assert (made.devices, made.nnodes, made.node_rank, made.rank) == (8, 1, 0, None)
    assert made.settings(1) == {"devices": 8}


def test_a_rank_table_of_two_servers_finds_this_one_by_its_address(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t.json", "10.0.0.1", "10.0.0.2")
    made = plan({"RANK_TABLE_FILE": table}, ("host", "10.0.0.2"))
    assert made.settings(1) == {"devices": 8, "nnodes": "2", "node_rank": 1, "rdzv_endpoint": "10.0.0.1:29500"}
    assert plan({"RANK_TABLE_FILE": table}, ("10.0.0.1",)).node_rank == 0
    with raises(SettingsError, "10.0.0.1, 10.0.0.2", path="t.json"):
        plan({"RANK_TABLE_FILE": table}, ("host", "10.9.9.9"))


def test_one_process_a_card_gets_what_torchrun_would_have_told_it(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t.json", "10.0.0.1", "10.0.0.2")
    made = plan({"RANK_TABLE_FILE": table, "RANK_ID": "11", "RANK_SIZE": "16", "DEVICE_ID": "3"})
    assert made.settings(8) == {}
    assert made.environment() == {
        "RANK": "11",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "3",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }
    alone = plan({"RANK_SIZE": "8", "RANK_ID": "5", "ASCEND_DEVICE_ID": "6"})
    assert alone.environment()["LOCAL_RANK"] == "6"
    assert alone.environment()["RANK"] == "5"
    assert alone.environment()["MASTER_ADDR"] == "127.0.0.1"


def test_the_older_rank_table_counts_ranks_through(tmp_path: Path) -> None:
    instances: list[dict[str, Any]] = [
        {"server_id": server, "devices": [{"device_id": "0", "device_ip": ""}, {"device_id": "1", "device_ip": ""}]}
        for server in ("a", "b")
    ]
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"group_list": [{"device_count": "4", "instance_list": instances}]}))
    made = plan({"RANK_TABLE_FILE": str(path), "RANK_ID": "3"})
    assert (made.world_size, made.node_rank, made.device) == (4, 1, 1)


@pytest.mark.parametrize(
    ("environment", "setting", "told"),
    [
        ({"MA_NUM_HOSTS": "2", "VC_WORKER_HOSTS": FOUR}, "VC_WORKER_HOSTS", ["10.0.0.4", "2 hosts", "MA_NUM_HOSTS"]),
        ({"MA_NUM_HOSTS": "2"}, "MA_NUM_HOSTS", ["MA_NUM_HOSTS: 2", "VC_WORKER_HOSTS"]),
        ({"VC_WORKER_HOSTS": FOUR}, "MA_CURRENT_IP", ["VC_TASK_INDEX"]),
        ({"VC_WORKER_HOSTS": FOUR, "VC_TASK_INDEX": "4"}, "VC_TASK_INDEX", ["0 to 3"]),
        ({"MA_NUM_GPUS": "many"}, "MA_NUM_GPUS", ["many"]),
        ({"RANK_TABLE_FILE": "/nowhere/t.json"}, "RANK_TABLE_FILE", ["/nowhere/t.json"]),
        ({"RANK_SIZE": "8", "RANK_ID": "8"}, "RANK_ID", ["RANK_SIZE"]),
    ],
)
def test_what_does_not_fit_together_is_named(environment: dict[str, str], setting: str | None, told: list[str]) -> None:
    with raises(SettingsError, *told, setting=setting):
        plan(environment)


def test_a_file_that_is_no_rank_table_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"server": []}')
    with raises(SettingsError, "server_list", path="t.json", setting="RANK_TABLE_FILE"):
        plan({"RANK_TABLE_FILE": str(tmp_path / "t.json")})


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("RANK_SIZE", {}),
        ("RANK_ID", {"RANK_SIZE": "4"}),
        ("DEVICE_ID", {"RANK_SIZE": "4", "RANK_ID": "1"}),
        ("RANK", {"WORLD_SIZE": "2", "MASTER_ADDR": "a"}),
        ("WORLD_SIZE", {"RANK": "0", "MASTER_ADDR": "a"}),
        ("LOCAL_WORLD_SIZE", {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}),
        ("GROUP_RANK", {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}),
        ("LOCAL_RANK", {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}),
        ("MASTER_PORT", {}),
        ("MA_NUM_GPUS", {}),
    ],
)
def test_a_variable_that_is_no_number_is_named(name: str, environment: dict[str, str]) -> None:
    with raises(SettingsError, setting=name, value="many"):
        plan({**environment, name: "many"})
