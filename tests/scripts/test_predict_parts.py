"""The manifests that divide `lookonce predict` among pods of Kubernetes and tasks of Slurm: who takes which part."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lookonce.exit_codes import ExitCode
from lookonce.prediction.parts import Part

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$@"; exit 7\n'


def words_of(command: list[str], folder: Path, **environment: str) -> list[str]:
    """The options with which a stand-in for `lookonce` is called; its exit status is passed on."""
    (folder / "lookonce").write_text(STAND_IN)
    (folder / "lookonce").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **environment}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    return done.stdout.splitlines()


def test_pods_of_an_indexed_job_take_all_parts(tmp_path: Path) -> None:
    job: dict[str, Any] = yaml.safe_load((SCRIPTS / "predict-kubernetes.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert int(variables["PARTS"]) == spec["completions"]
    assert [rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule] == [
        {"containerName": container["name"], "operator": "In", "values": [ExitCode.WRONG_USE]}
    ]
    parts = []
    for index in (0, spec["completions"] - 1):
        command = [*container["command"], *container["args"]]
        words = words_of(command, tmp_path, JOB_COMPLETION_INDEX=str(index), **variables)
        assert (words[0], words[-1]) == ("predict", "--resume")
        parts += Part.parse(words[words.index("--part") + 1])
    assert [part.number for part in parts] == [1, parts[-1].total]


@pytest.mark.parametrize(("variables", "part"), [({}, "7/100"), ({"PARTS": "200"}, "7/200")])
def test_tasks_of_an_array_take_all_parts(variables: dict[str, str], part: str, tmp_path: Path) -> None:
    command = ["bash", str(SCRIPTS / "predict-slurm.sbatch"), "my list.txt", "--weights", "w.onnx", "--output", "out"]
    numbers = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MAX": "100"}
    words = words_of(command, tmp_path, **numbers, **variables)
    assert words == ["predict", *command[2:], "--part", part, "--resume"]
