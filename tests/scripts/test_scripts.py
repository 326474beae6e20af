"""The document's scripts, run as it says on a small COCO data set, on the CPU."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from lookonce.data.synthetic import SceneOptions, write_synthetic

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = ("max_epoch=1", "per_batch_size=2", "training_shape=64", "width=0.0625", "log_interval=1")
# The document: 2021-07-21 14:45:21,688:INFO:epoch[0], iter[400], loss:503.846949, fps:122.33 imgs/sec, lr:0.0002736
LOSS = re.compile(r"epoch\[0\], iter\[\d+\], loss:[\d.]+, fps:[\d.]+ imgs/sec, lr:[\d.e-]+")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16)
    return write_synthetic(tmp_path_factory.mktemp("data") / "coco ü", train=8, val=3, options=options)


def script(name: str, *arguments: object, folder: Path, until: str = "", log: str = "", device: str = "cpu") -> str:
    """Run it in `folder`, wait until its background process has written `until` into `log`; returns the log."""
    command = ["sh", str(SCRIPTS / name), *map(str, arguments)]
    environment = {**os.environ, "DEVICE": device}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    process = int(done.stdout.split()[3].rstrip(";"))
    for _ in range(2400):
        text = (folder / log).read_text()
        if until in text or not Path(f"/proc/{process}").exists():
            break
        time.sleep(0.05)
    while Path(f"/proc/{process}").exists() and "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]:
        time.sleep(0.05)
    return (folder / log).read_text()


def assert_rank_1_tells_its_own(folder: Path) -> None:
    """Its log has each line once, and the losses of all ranks together as that of rank 0 has."""
    assert {path.name for path in folder.glob("train_parallel*")} == {"train_parallel0", "train_parallel1"}
    first, second = ((folder / f"train_parallel{rank}" / "log.txt").read_text() for rank in (0, 1))
    losses = [re.findall(r"epoch\[0\], iter.*loss:[\d.]+", log) for log in (first, second)]
    assert losses[0] == losses[1]
    assert len(losses[1]) == 2


@pytest.mark.slow
def test_standalone_training_then_evaluation(data: Path, tmp_path: Path) -> None:
    log = script("run_standalone_train_gpu.sh", data, *TINY, folder=tmp_path, until="finished;", log="train/log.txt")
    assert len(LOSS.findall(log)) == 4
    (run,) = (tmp_path / "train" / "outputs").iterdir()
    log = script("run_eval_gpu.sh", data, run, folder=tmp_path, until="written:", log="eval/log.txt")
    lines = log.splitlines()
    assert lines[0] == "=============coco eval reulst========="
    first = next(place for place, line in enumerate(lines) if "Average Precision" in line)
    assert [" Average" in line for line in lines[first : first + 12]] == [True] * 12
    assert "AP50" in json.loads((tmp_path / "eval" / "metrics.json").read_text())


@pytest.mark.slow
def test_training_on_the_devices_of_a_rank_table(data: Path, tmp_path: Path) -> None:
    cards = [{"device_id": str(n), "device_ip": f"192.1.{n}.6", "rank_id": str(n)} for n in range(2)]
    table = tmp_path / "rank_table_2p.json"
    table.write_text(json.dumps({"server_list": [{"server_id": "10.0.0.1", "device": cards}]}))
    log = script(
        *("run_distribute_train.sh", data, table.name, *TINY),
        folder=tmp_path,
        until="finished;",
        log="train_parallel0/log.txt",
    )
    assert re.search(r"2 devices .*rank table", log)
    assert re.search(r"2 batches of 4.* 2 processes", log)
    assert len(LOSS.findall(log)) == 2
    assert (tmp_path / "train_parallel0" / "outputs" / "job" / "checkpoints" / "last").is_dir()
    assert_rank_1_tells_its_own(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_training_on_several_devices_of_this_machine_with_cores_of_their_own(data: Path, tmp_path: Path) -> None:
    log = script(
        *("run_distribute_train_gpu.sh", data, 2, 1, *TINY),
        folder=tmp_path,
        until="finished;",
        log="train_parallel0/log.txt",
    )
    assert re.search(r"2 batches of 4.* 2 processes", log)
    assert_rank_1_tells_its_own(tmp_path)
    assert "cpus_per_rank: 1" in next((tmp_path / "train_parallel0" / "outputs").glob("*/settings.yaml")).read_text()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("run_standalone_train.sh", "train"),
        ("run_standalone_train_gpu.sh", "train"),
        ("run_distribute_train.sh", "train_parallel0"),
        ("run_distribute_train_gpu.sh", "train_parallel7"),
        ("run_eval.sh", "eval"),
        ("run_eval_gpu.sh", "eval"),
        ("run_infer_310.sh", "acc.log"),
    ],
)
def test_a_script_says_what_it_takes_and_overwrites_nothing(name: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        command = ["sh", str(SCRIPTS / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    status, usage = run()
    assert status == 2
    assert re.match(r"run_\w+\.sh [A-Z]+", usage)
    status, told = run("a", "b", "c")
    assert status == 1
    assert folder in told
    assert "earlier run" in told
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert not list((tmp_path / folder).iterdir())
