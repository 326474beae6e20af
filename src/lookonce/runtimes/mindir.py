"""Runs exported MindIR files with MindSpore, in a separate Python environment (docs/weights.md).

MindSpore's dependencies conflict with ours, so a separate program in its own Python runs the network. The record is
stored in the file's `user_info`, a field of MindSpore's mind_ir.proto.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lookonce
from lookonce.errors import LookonceError, WeightsError
from lookonce.log import log_lines
from lookonce.protobuf import as_field, fields
from lookonce.runtimes.exported import Engine, ExportedRuntime, described
from lookonce.storage import temporary_folder

PYTHON_VARIABLE = "LOOKONCE_MINDSPORE"
PROGRAM = Path(__file__).with_name("mindspore_program.py")
TIMEOUT_SECONDS = 3600
USER_INFO = 14  # field of ModelProto: a map from string to string
KEY, VALUE = 1, 2  # fields of one entry


class MindSporeRuntime(ExportedRuntime):
    """A .mindir file. Each call starts one process, which compiles the network and runs all images."""

    name = "mindspore"
    side_by_side = False

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        path = Path(path)
        super().__init__(path, *described(read_user_info(path), path, "mindir"), threads=threads)

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:  # noqa: ARG002
        def run(images: NDArray[Any], _thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            with temporary_folder() as folder:
                given, results = folder / "images.npy", folder / "outputs.npz"
                np.save(given, images)
                names = ",".join(self.interface.outputs)
                run_program("run", self.path.resolve(), given, results, "--batch", self.group, "--outputs", names)
                values = np.load(results)
                return [values[name][: len(images)] for name in outputs]

        return run

    def _groups(self, canvases: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """All images at once: the program divides them into batches."""
        if len(canvases):
            yield canvases


def mindspore_python() -> Path:
    """The Python interpreter that has MindSpore; LookonceError, with how to install one, when there is none."""
    given = os.environ.get(PYTHON_VARIABLE)
    beside = Path(lookonce.__file__).resolve().parents[2] / ".venv-mindspore" / "bin" / "python"
    python = Path(given) if given else beside
    if not python.exists():
        raise LookonceError(
            f"MindIR needs MindSpore in a separate environment: {python} does not exist; in a checkout of lookonce "
            f"create it with `./run mindspore -c 1` (3 GB); otherwise set {PYTHON_VARIABLE} to a Python with MindSpore"
        )
    return python


def run_program(*arguments: object) -> None:
    """Run mindspore_program.py with these arguments and log its output; LookonceError when it fails."""
    command = [str(mindspore_python()), str(PROGRAM), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookonceError(f"MindSpore: cannot be started: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise LookonceError(f"MindSpore failed: {' '.join(command)}\n" + "\n".join(lines[-15:]))
    log_lines(done.stdout.splitlines())


def user_info_bytes(info: Mapping[str, str]) -> bytes:
    """A MindIR with only `user_info`; appended to a .mindir file it becomes part of it (protobuf merges messages)."""
    return b"".join(
        as_field(USER_INFO, as_field(KEY, name.encode()) + as_field(VALUE, text.encode()))
        for name, text in info.items()
    )


def read_user_info(path: Path) -> dict[str, str]:
    """The `user_info` of a MindIR file: key -> text; the network itself is skipped."""
    try:
        content = memoryview(path.read_bytes())
        entries = [dict(fields(value)) for number, value in fields(content) if number == USER_INFO]
        return {bytes(entry[KEY]).decode(): bytes(entry[VALUE]).decode() for entry in entries}
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror}); expected an exported .mindir file") from error
    except (ValueError, KeyError, IndexError) as error:
        raise WeightsError.at(path, "truncated or not a MindIR file; export it again with --to mindir") from error
