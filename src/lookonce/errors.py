"""Exceptions for errors that are caused by the input and not by lookonce."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from lookonce.shown import shown

# Part of torch's error if torch-npu is installed without CANN (`import torch` loads torch-npu), and our message.
NO_TORCH_NPU = "backend extension: torch_npu"
NO_CANN = (
    "torch-npu is installed, but Ascend's CANN cannot be loaded. Install CANN, or set its environment variables: "
    "source /usr/local/Ascend/ascend-toolkit/set_env.sh. To use the CPU instead: export TORCH_DEVICE_BACKEND_AUTOLOAD=0"
)
COMMAND = "LOOKONCE_COMMAND"  # set by ./run, which runs lookonce where no command of that name is on PATH
NO_MEMORY = (
    *("can't allocate memory", "Insufficient memory", "Cannot allocate memory", "std::bad_alloc"),
    "can't start new thread",  # there is no room for its stack
)
# Of the loader; on a disk without permission to execute, the reason follows.
NO_ROOM_TO_LOAD = "failed to map segment from shared object"
# Verb -> what makes it smaller.
LESS_MEMORY = {
    "train": "reduce --batch-size or --image-size; --accumulate N with a smaller --batch-size keeps the number of "
    "images per step; --resume continues a training run from its last checkpoint",
    "eval": "reduce --batch-size or --image-size",
    "predict": "omit --tile, choose smaller images, or weights with a smaller input",
    "export": "reduce --image-size or --batch",
}
LESS_MEMORY |= {"job": LESS_MEMORY["train"], "demo": LESS_MEMORY["train"]}


def out_of_memory(verb: str) -> str:
    """The sentence for memory that is used up."""
    return f"out of memory; {LESS_MEMORY.get(verb, 'close other programs')}, or raise the limit of memory (ulimit -v)"


def how_to_install(extra: str) -> str:
    """The command that adds an extra: of ./run, which has an environment of its own, or of pip, from where lookonce was
    installed (direct_url.json, PEP 610: a folder, wheel or repository), else from the package index."""
    if command := os.environ.get(COMMAND):
        return f"{command} uv sync --inexact --extra {extra}"
    from importlib.metadata import PackageNotFoundError, distribution  # takes 0.03 s, which most starts do not need

    try:
        origin = json.loads(distribution("lookonce").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    version_control = origin.get("vcs_info", {}).get("vcs")
    address = f"{version_control}+{origin['url']}" if version_control else origin.get("url")
    return f'pip install "lookonce[{extra}]{f" @ {address}" if address else ""}"'


class LookonceError(ValueError):
    """Bad input: the message names the file or setting, the value seen, the value expected and the next step.

    The command line prints the message without a traceback and exits with status 1. Fields for programs, None if not
    known: `setting`, the option's name; `path`, the file, folder or URL; `line` of that file, from 1; `value`, as
    given; `check`, the data check that failed (data/finding_kinds.py).
    """

    def __init__(
        self,
        message: str,
        *,
        setting: str | None = None,
        path: str | Path | None = None,
        line: int | None = None,
        value: Any = None,
        check: str | None = None,
    ) -> None:
        name = "" if path is None else str(path)
        super().__init__(message.replace(name, shown(name)) if name else message)
        self.setting = setting
        self.path = path
        self.line = line
        self.value = value
        self.check = check

    @classmethod
    def at(cls, path: str | Path, problem: str, **fields: Any) -> Self:
        """About a file, folder or URL: `path: problem`. problem: what is wrong; what was expected; the next step."""
        return cls(f"{path}: {problem}", path=path, **fields)

    @property
    def fields(self) -> dict[str, Any]:
        """All fields except the message, to raise the error with another one: `SettingsError(text, **error.fields)`."""
        return {name: getattr(self, name) for name in ("setting", "path", "line", "value", "check")}


class DataError(LookonceError):
    """Images or annotations that cannot be used as they are."""


class SettingsError(LookonceError):
    """A setting that is unknown, of the wrong type or out of range. The command line exits with status 2."""

    @classmethod
    def of(cls, setting: str, value: Any, problem: str, **fields: Any) -> Self:
        """About a value: `setting: value; problem`. problem: what was expected; the next step."""
        told = "empty" if value == "" else shortened(value)
        return cls(f"{setting}: {told}; {problem}", setting=setting, value=value, **fields)


class WeightsError(LookonceError):
    """A weights file or folder that is missing, damaged, or for another network."""


class MissingExtra(LookonceError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str, package: str = "") -> None:
        """package: what pip installs for it, where no ./run with an environment of its own takes the extra."""
        is_package = package and not (extra and os.environ.get(COMMAND))
        super().__init__(f"{feature} needs: {f'pip install {package}' if is_package else how_to_install(extra)}")
        self.extra = extra


@contextmanager
def needing_extra(feature: str, extra: str, *modules: str, package: str = "") -> Iterator[None]:
    """Around imports: MissingExtra if a module is not installed. modules: only if it is one of these; package: as of
    `MissingExtra`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if modules and error.name not in modules:
            raise
        raise MissingExtra(feature, extra, package) from error


def require_setting(name: str, value: Any, fits: Callable[[Any], bool], expected: str) -> None:
    """SettingsError unless `value` is None, the default, or fits. expected: in words, after "expected"."""
    try:
        is_fit = value is None or fits(value)
    except TypeError:  # 0 <= "0.5"
        is_fit = False
    if not is_fit:
        raise SettingsError.of(name, value, f"expected {expected}")


def require_fraction(name: str, value: float | None) -> None:
    """SettingsError unless `value` is None or 0..1, as a threshold of confidence or IoU; NaN is neither."""
    require_setting(name, value, lambda part: 0 <= part <= 1, "a number from 0 to 1")


def shortened(value: Any) -> str:
    """A value for an error: the first 200 characters of a long one."""
    try:
        text = str(value)
    except ValueError:  # Python writes no integer of over 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}..."


def first_line(error: BaseException) -> str:
    """The first line of another program's error; its type where it has no text."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that the memory of the machine or of the accelerator is used up.

    PyTorch's allocator of the CPU and OpenCV's have no type for it: their texts are "can't allocate memory" (c10's
    alloc_cpu.cpp) and "Insufficient memory" (alloc.cpp).
    """
    while error is not None:
        words = str(error)
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if (
            type(error).__name__ == "OutOfMemoryError"
            or words.endswith(NO_ROOM_TO_LOAD)
            or any(text in words for text in NO_MEMORY)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
