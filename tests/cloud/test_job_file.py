"""Job files: the platforms' own schemas, that their parts agree, and what the nodes run, as processes on loopback."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port
from raised import raises

from lookonce.cli.main import main
from lookonce.cloud.job_file import job_file
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import SettingsError
from lookonce.exit_codes import ExitCode
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_in import cache_name

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--epochs=6", "--batch-size=2", "--image-size=64", "--width=0.0625", "--device=cpu", "--log-interval=1")
URLS = {"data_url": "s3://bucket/coco.zip", "train_url": "s3://bucket/out"}
# Of each platform: the package that has its schema, and a program that reads a job file from stdin.
SCHEMAS = {
    "kubeflow": ("kubeflow-trainer-api==2.3.*", """
from kubeflow_trainer_api import models
for document in documents:
    read = getattr(models, f"TrainerV1alpha1{document['kind']}").from_dict(document)
    assert read.to_dict() == document, (read.to_dict(), document)  # it drops unknown fields
"""),
    "skypilot": ("skypilot==0.14.*", """
import jsonschema
from sky.utils import schemas
jsonschema.validate(documents[0], schemas.get_task_schema())
jsonschema.validate(documents[0]["resources"], schemas.get_resources_schema())
"""),
    "dstack": ("dstack==0.22.*", """
from dstack._internal.core.models.configurations import parse_run_configuration
parse_run_configuration(documents[0])
"""),
}  # fmt: skip
# Each node's environment as SkyPilot and dstack describe theirs, for node 1 of 2.
NODES = {
    "skypilot": {
        "SKYPILOT_NUM_GPUS_PER_NODE": "8",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    },
    "dstack": {
        "DSTACK_GPUS_PER_NODE": "8",
        "DSTACK_NODES_NUM": "2",
        "DSTACK_NODE_RANK": "1",
        "DSTACK_MASTER_NODE_IP": "10.0.0.1",
    },
}


def text_for(platform: str, **flags: Any) -> str:
    return job_file(
        platform, **{"image": "registry.example.com/lookonce", "devices": 8, "nnodes": "2", **URLS, **flags}
    ).text


def documents_for(platform: str, **flags: Any) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text_for(platform, **flags)))


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def options_in(words: Sequence[str]) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in words)


def exit_codes_in(job: dict[str, Any]) -> dict[str, Any]:
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} == {
        container_of(job)["name"]
    }
    return {rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule}


def test_the_names_and_numbers_for_kubernetes_agree() -> None:
    service, job = documents_for("kubernetes", run="night")
    name, spec, container = job["metadata"]["name"], job["spec"], container_of(job)
    options = options_in(container["args"])
    assert name == "lookonce-night"
    assert spec["completions"] == spec["parallelism"] == int(options["nnodes"]) == 2
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(options["devices"]) == 8
    assert options["rdzv-endpoint"].partition(":")[0] == f"{name}-0.{service['metadata']['name']}"
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert exit_codes_in(job) == {"Ignore": [ExitCode.STOPPED], "FailJob": [ExitCode.WRONG_USE]}
    assert options["run"] == "night"


def test_the_names_and_numbers_for_kubeflow_agree() -> None:
    runtime, train_job = documents_for("kubeflow")
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    trainer = train_job["spec"]["trainer"]
    assert train_job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    assert replicated["name"] == container_of(replicated["template"])["name"] == "node"  # as Kubeflow's plugin expects
    assert exit_codes_in(replicated["template"]) == {"Ignore": [ExitCode.STOPPED], "FailJob": [ExitCode.WRONG_USE]}
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert options_in(trainer["args"])["node-rank"] == "$(PET_NODE_RANK)"


@pytest.mark.parametrize("platform", NODES)
def test_the_shell_gives_each_node_its_number_and_each_option_as_typed(platform: str, tmp_path: Path) -> None:
    (document,) = documents_for(platform, names="it's $(HOME) here.txt")
    script = document["run"] if platform == "skypilot" else "\n".join(document["commands"])
    program = tmp_path / "lookonce"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **NODES[platform]}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    verb, *words = done.stdout.splitlines()
    assert verb == "job"
    ranks = {"devices": "8", "nnodes": "2", "node-rank": "1", "rdzv-endpoint": "10.0.0.1:29500"}
    assert options_in(words) == ranks | {name.replace("_", "-"): url for name, url in URLS.items()} | {
        "names": "it's $(HOME) here.txt"
    }


@pytest.mark.parametrize("platform", ["kubernetes", "kubeflow"])
def test_kubernetes_expands_nothing_in_an_option(platform: str) -> None:
    job = documents_for(platform, names="$(HOME)")[1]
    args = job["spec"]["trainer"]["args"] if platform == "kubeflow" else container_of(job)["args"]
    assert args[-1] == "--names=$$(HOME)"


@pytest.mark.parametrize(
    "flags",
    [
        {"run": "Night"},
        {"run": "a: b"},
        {"image": "a\nb"},
        {"gpu": "L4: x"},
        {"nnodes": "1:4"},
        {"devices": 0},
        {"data_url": ""},
        {"epochs": "many"},
        {"file": "mine.yaml"},
        {"node_rank": "1"},
    ],
    ids=lambda flags: next(iter(flags)),
)
def test_what_no_node_could_run_is_refused(flags: dict[str, Any]) -> None:
    with raises(SettingsError, setting=next(iter(flags))):
        job_file("skypilot", **{"image": "image", **URLS, **flags})


def test_an_unknown_platform_is_refused() -> None:
    with raises(SettingsError, setting="platform", value="slurm"):
        text_for("slurm")


def test_the_printed_file_runs_lookonce_and_not_the_checkout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKONCE_COMMAND", "./run")
    assert main(["job-file", "dstack", "--image=image", *(f"--{name}={url}" for name, url in URLS.items())]) == 0
    assert "exec lookonce job" in capsys.readouterr().out


@pytest.mark.network
@pytest.mark.parametrize("kubernetes", ["1.31", "1.37"])
def test_kubernetes_own_schema_takes_the_files(kubernetes: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(text_for("kubernetes"))
    files = [str(tmp_path / "job.yaml"), str(ROOT / "scripts" / "predict-kubernetes.yaml")]
    program = ["uv", "run", "--no-project", "--with", "kubernetes-validate==1.37.*", "kubernetes-validate"]
    command = [str(ROOT / "run"), *program, "--strict", "-k", kubernetes, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.network
@pytest.mark.parametrize("platform", SCHEMAS)
def test_the_platforms_own_schema_takes_the_file_and_no_unknown_field(platform: str, tmp_path: Path) -> None:
    package, program = SCHEMAS[platform]
    home = f"import os; os.environ['HOME'] = {str(tmp_path)!r}"  # SkyPilot writes there when it is imported
    reading = f"{home}\nimport sys, yaml\ndocuments = list(yaml.safe_load_all(sys.stdin))\n{program}"
    command = [str(ROOT / "run"), "uv", "run", "--no-project", "--with", package, "--with", "pyyaml", "python", "-c"]
    for text, is_taken in ((text_for(platform), True), (f"{text_for(platform)}\nunknown_field: 1\n", False)):
        done = subprocess.run([*command, reading], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == is_taken, done.stderr[-2000:]


def pods(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """What the two containers run, each on an empty disk; Kubernetes' part is to put in the number and the name."""
    container = container_of(documents_for("kubernetes")[1])
    started = []
    for index in ("0", "1"):
        words = " ".join([*container["command"][1:], *container["args"], *TINY])
        words = words.replace("$(JOB_COMPLETION_INDEX)", index).replace("--devices=8", "--devices=1")
        words = words.replace("lookonce-job-0.lookonce-job:29500", f"127.0.0.1:{port}")
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
