"""What a pickle of PyTorch may name: tensors, containers and modules; every other name is refused, nothing is imported.

Tensors become offsets into the file, containers become containers, and modules become empty stand-ins that keep their
state.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_DIMENSIONS = 8
STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
ITEM_BYTES = {kind: 2 if kind == "bfloat16" else np.dtype(kind).itemsize for kind in STORAGES.values()}
# Prefixes of classes, and single names, whose objects become stand-ins.
MODULE_FAMILIES = ("torch.nn.modules.", "models.", "ultralytics.nn.")
STAND_INS = {
    "argparse.Namespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib.PurePosixPath",
    "datetime.datetime",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "torch.device",
}


class RefusedError(Exception):
    """The file contains something that is not allowed."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers in the file: key is its name there, kind a value of STORAGES."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class TensorPlace:
    """A tensor as a view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StandIn:
    """Stands for an object of a class that is not imported; it only keeps its state."""

    path = ""

    def __new__(cls, *_arguments: Any, **_options: Any) -> "StandIn":
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self.state: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.kinds: dict[str, str] = {}  # key -> kind of every storage

    def find_class(self, module_name: str, global_name: str) -> Any:
        return admitted(module_name, global_name)

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # before PyTorch 1.6: a class with its source code
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], str):
            raise RefusedError("refused: it refers to an object that is not a tensor storage")
        key, count = pid[2], pid[4]
        if not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise RefusedError("refused: a tensor storage has an unknown form")
        if pid[1] not in ITEM_BYTES:
            raise RefusedError("refused: a tensor storage has an unknown number type")
        self.kinds[key] = pid[1]
        return Storage(key=key, kind=pid[1], count=count)


def admitted(module_name: str, global_name: str) -> Any:
    """The object for a name in a pickle; RefusedError for every name that is not in the tables."""
    path = f"{module_name}.{global_name}"
    if path in FUNCTIONS:
        return FUNCTIONS[path]
    if module_name == "torch" and global_name in STORAGES:
        return STORAGES[global_name]
    if path.startswith(MODULE_FAMILIES) or path in STAND_INS:
        return type("StandInOf", (StandIn,), {"path": path})
    raise RefusedError(
        f"refused: it refers to {path[:100]!r}, which is neither a tensor, a plain container nor a network module; "
        "nothing of it was executed"
    )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> TensorPlace:
    numbers = (offset, *shape, *strides)
    fine = isinstance(storage, Storage) and len(shape) == len(strides) <= MOST_DIMENSIONS
    if not fine or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise RefusedError("refused: a tensor has an unknown form")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last >= storage.count or math.prod(shape) > storage.count):
        raise RefusedError("refused: a tensor reaches outside its storage")
    return TensorPlace(storage, offset, tuple(shape), tuple(strides))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_rest: tensor,
    "torch.Size": tuple,
    "builtins.set": set,
    "__builtin__.set": set,
}
