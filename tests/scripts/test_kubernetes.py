"""The manifest for Kubernetes: its schema, that its parts agree, and what its pods run, as processes on loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.exit_codes import ExitCode
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_in import cache_name

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "scripts" / "kubernetes.yaml"
TINY = ("--epochs=6", "--batch-size=2", "--image-size=64", "--width=0.0625", "--device=cpu", "--log-interval=1")


def service_and_job() -> tuple[dict[str, Any], dict[str, Any]]:
    service, job = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    return service, job


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_names_and_numbers_of_the_manifest_agree() -> None:
    service, job = service_and_job()
    name, spec, container = job["metadata"]["name"], job["spec"], container_of(job)
    options = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    assert spec["completions"] == spec["parallelism"] == int(options["nnodes"])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(options["devices"])
    assert options["rdzv-endpoint"].partition(":")[0] == f"{name}-0.{service['metadata']['name']}"
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    rules = {rule["action"]: rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
    assert rules["Ignore"]["values"] == [ExitCode.STOPPED]
    assert {rule["containerName"] for rule in rules.values()} == {container["name"]}


@pytest.mark.network
@pytest.mark.parametrize("manifest", [MANIFEST, MANIFEST.with_name("predict-kubernetes.yaml")])
@pytest.mark.parametrize("kubernetes", ["1.31", "1.37"])
def test_kubernetes_own_schema_takes_the_manifest(kubernetes: str, manifest: Path) -> None:
    program = ["uv", "run", "--no-project", "--with", "kubernetes-validate==1.37.*", "kubernetes-validate"]
    command = [str(ROOT / "run"), *program, "--strict", "-k", kubernetes, str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def pods(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """What the two containers run, each on an empty disk; Kubernetes' part is to put in the number and the name."""
    container = container_of(service_and_job()[1])
    started = []
    for index in ("0", "1"):
        words = " ".join([*container["command"][1:], *container["args"], *TINY])
        words = words.replace("$(JOB_COMPLETION_INDEX)", index).replace("--devices=8", "--devices=1")
        words = words.replace("lookonce-0.lookonce:29500", f"127.0.0.1:{port}")
        (folder / index).mkdir(parents=True)
        with (folder / index / "console.txt").open("w") as console:
            command = [sys.executable, "-m", "lookonce", *words.split()]
            started.append(subprocess.Popen(command, cwd=folder / index, stdout=console, stderr=console))
    return started


def all_end(started: list[subprocess.Popen[bytes]], status: int, folder: Path) -> None:
    try:
        codes = [pod.wait(240) for pod in started]
    finally:
        for pod in started:
            pod.kill()
    assert codes == [status, status], [path.read_text() for path in sorted(folder.glob("*/console.txt"))]


@pytest.mark.slow
@pytest.mark.skipif(Path("/cache").is_dir(), reason="/cache is there, where jobs keep their files")
def test_two_pods_train_stop_when_one_is_evicted_and_new_ones_go_on(s3: Any, tmp_path: Path) -> None:
    data = write_synthetic(tmp_path / "coco", train=32, val=3, options=SceneOptions(sides=(64, 96), smallest=16))
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "coco"))
    ObjectStore().upload(zipped, Location.parse("s3://bucket/coco.zip"))
    port = free_port()
    first = pods(tmp_path / "first", port)
    runs, give_up = Path("0", "cache", "train", cache_name(Location.parse("s3://bucket/out"))), time.monotonic() + 240
    log = tmp_path / "first" / runs / "job" / "log.txt"
    while not (log.is_file() and re.search(r"epoch\[2\], iter", log.read_text())) and time.monotonic() < give_up:
        time.sleep(0.01)
    first[1].send_signal(signal.SIGTERM)
    all_end(first, ExitCode.STOPPED, tmp_path / "first")
    all_end(pods(tmp_path / "second", port), 0, tmp_path / "second")
    run = tmp_path / "second" / runs / "job"
    assert re.search(r"2 processes.* epoch", (run / "log.txt").read_text())
    straight = ["train", f"--data={data}", f"--runs={tmp_path}", "--run=straight", "--devices=2", *TINY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "lookonce", *straight], check=True, capture_output=True, env=environment)
    sent = {entry.name for entry in ObjectStore().entries(Location.parse("s3://bucket/out"))}
    assert {"job/metrics.csv", "job/checkpoints/last/CURRENT"} <= sent
    for name in ("model.safetensors", "training.safetensors"):
        expected = tmp_path / "straight" / "checkpoints" / "last" / name
        assert (run / "checkpoints" / "last" / name).read_bytes() == expected.read_bytes()
