"""The script for Slurm, with stand-ins for the programs that it calls; docs/jobs.md says what ran in a real cluster."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "slurm.sbatch"
STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then printf "n7\\nn8\\n"; else echo "$@" >>asked; fi',
    "srun": 'while [ "$1" != bash ]; do shift; done; SLURM_NODEID=1 exec "$@"',
    "lookonce": 'printf "%s\\n" "$@"; exit $STATUS',
}


@pytest.mark.parametrize(("status", "asked"), [(0, ""), (75, "requeue 41235\n"), (1, ""), (130, "")])
def test_a_job_that_was_stopped_in_time_is_queued_again_and_no_other(status: int, asked: str, tmp_path: Path) -> None:
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    told_by_slurm = {
        "JOB_ID": "41235",
        "JOB_NAME": "night",
        "JOB_NODELIST": "n[7-8]",
        "NNODES": "2",
        "GPUS_ON_NODE": "4",
    }
    environment = {f"SLURM_{name}": value for name, value in told_by_slurm.items()}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATUS": str(status)}
    command = ["bash", SCRIPT, "--data", "coco ü", "--epochs=3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    several = ["--devices", "4", "--nnodes", "2", "--node-rank", "1", "--rdzv-endpoint", "n7:21235"]
    assert done.stdout.splitlines() == ["train", "--run", "night", *several, "--data", "coco ü", "--epochs=3"]
    assert asked == ((tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else "")
