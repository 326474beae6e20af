"""Runs `lookonce ARGUMENTS` again and again, each time killed at a later change on the disk, until it ends by itself.

Prints the number of kills. `python killed.py CHUNK_ROWS ARGUMENTS...`, in a process of its own: a fork of one that has
threads would wait for them.
"""

import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

# What the command would import late, in each of the forks.
import onnxruntime  # noqa: F401

import lookonce.cli.app
import lookonce.prediction.outputs
import lookonce.runtimes.onnx  # noqa: F401
from lookonce.cli.main import main
from lookonce.workflows import predict_parts


def kill_at(step: int) -> None:
    """From here on the process ends without a word at its step-th change on the disk."""
    steps = count(1)
    for kind, name in ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (os, "fsync")):
        change = getattr(kind, name)

        def at_a_step(*arguments: Any, change: Any = change, **options: Any) -> Any:
            if next(steps) == step:
                os._exit(9)
            return change(*arguments, **options)

        setattr(kind, name, at_a_step)


if __name__ == "__main__":
    predict_parts.CHUNK_ROWS = int(sys.argv[1])
    for step in count(1):
        child = os.fork()
        if child == 0:
            kill_at(step)
            os._exit(main(sys.argv[2:]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 9:
            print(step - 1)
            sys.exit(status)
