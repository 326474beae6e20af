"""Reads a PyTorch .pt file without executing it.

A pickle is a program: it names functions and calls them. Here every name is resolved only through the tables below:
tensors become offsets into the file, containers become containers, and modules become empty stand-ins that keep their
state. Any other name is refused. Nothing is imported for a pickle, not even PyTorch.

Nor can a pickle take memory or time out of proportion to the file: its operations are counted, and their arguments
compared with its length, before the first one is carried out; no function of the tables copies what it is given; and
modules and arrays are counted as they are collected.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import WeightsError

# A checkpoint of training has about 10,000 operations, of which 600 make tuples. Python hashes tuples in tuples by
# recursion in C, so that a hundred thousand of them could end the process.
MOST_OPERATIONS, MOST_TUPLES = 200_000, 30_000
MOST_DEPTH, MOST_MODULES = 20, 1_000  # nesting and number of modules; a network has 5 and 80
MOST_DIMENSIONS = 8
MOST_LISTED = 10_000  # items of an attribute, or elements of a tensor attribute
ZIP, LEGACY_MAGIC, LEGACY_VERSION = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001
PLAIN = (int, float, str, type(None))
# The attributes of modules that the reader of a network asks for.
ATTRIBUTES = frozenset({"eps", "kernel_size", "mode", "names", "negative_slope", "padding", "stride"})

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


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the pickled network: its class name without the path, and those of ATTRIBUTES that it has."""

    kind: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """arrays: name -> array, floats as float32. modules: name ("" for the whole network) -> Module."""

    arrays: dict[str, NDArray[np.generic]]
    modules: dict[str, Module]
    chosen: str  # the entry of the file that is the network: "ema", "model" or "" for the file itself


def read_pickled(path: Path) -> Pickled:
    """The network in a .pt file; WeightsError names what was refused, or what is wrong."""
    try:
        return _read(path)
    except RefusedError as error:
        raise WeightsError.at(path, str(error)) from error
    except Exception as error:  # a broken pickle can raise anything
        problem = f"truncated or not a .pt file ({type(error).__name__}: {str(error)[:200]})"
        raise WeightsError.at(path, problem) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._stream = stream
        self.kinds: dict[str, str] = {}  # key -> kind of every storage

    def load(self) -> Any:
        """The next object of the stream. RefusedError for a pickle that asks for more than it holds."""
        start, length, tuples = self._stream.tell(), self._stream.getbuffer().nbytes, 0
        for number, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):
            tuples += opcode.name.startswith("TUPLE")
            # The memo of Python's unpickler has room for all numbers up to the largest that is put there.
            if (
                number > MOST_OPERATIONS
                or tuples > MOST_TUPLES
                or ("PUT" in opcode.name and argument and argument > length)
            ):
                raise RefusedError("refused: it would take more memory than its content; damaged or malicious")
        self._stream.seek(start)
        return super().load()

    def find_class(self, module_name: str, global_name: str) -> Any:
        return admitted(module_name, global_name)

    def persistent_load(self, pid: Any) -> Any:
        if (
            isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module"
        ):  # before PyTorch 1.6: a class with its source code
            return pid[1]
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
    "collections.OrderedDict": lambda *_: OrderedDict(),
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_rest: tensor,
    "torch.Size": lambda *_: (),
    "builtins.set": lambda *_: set(),
    "__builtin__.set": lambda *_: set(),
}
Content = Callable[[Storage], bytes]


class _Arrays:
    """The arrays of a file. content: the bytes of a storage; num_bytes: of the file, which holds all their numbers."""

    def __init__(self, content: Content, num_bytes: int) -> None:
        self._content = content
        self._bytes_left = self._numbers_left = num_bytes
        self._flat: dict[Storage, NDArray[np.generic]] = {}

    def at(self, place: TensorPlace) -> NDArray[np.generic]:
        """An array, floats as float32."""
        storage = place.storage
        self._numbers_left -= math.prod(place.shape)
        if storage not in self._flat:
            content = self._content(storage)
            self._bytes_left -= len(content)
            if len(content) != storage.count * ITEM_BYTES[storage.kind]:
                raise RefusedError(
                    f"storage {storage.key[:40]!r} has {len(content):,} bytes; the file is damaged; copy it again"
                )
            is_bfloat16 = storage.kind == "bfloat16"  # the upper half of a float32
            numbers = np.frombuffer(content, "<u2" if is_bfloat16 else storage.kind)
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else numbers
            self._flat[storage] = numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers
        if min(self._bytes_left, self._numbers_left) < 0:
            raise RefusedError("refused: its tensors have more numbers than the file")
        numbers = self._flat[storage]
        strides = tuple(stride * numbers.itemsize for stride in place.strides)
        view = np.lib.stride_tricks.as_strided(numbers[place.offset :], place.shape, strides, writeable=False)
        return np.array(view, order="C")


def _read(path: Path) -> Pickled:
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    root, content = _open_zip(path) if start == ZIP else _open_legacy(path)
    chosen, network = _network(root)
    stored = _Arrays(content, path.stat().st_size)
    modules: dict[str, Module] = {}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, module in _walk("", network, 0):
        if len(modules) == MOST_MODULES:
            raise RefusedError(f"has more than {MOST_MODULES} modules; expected YOLOv3-Tiny")
        modules[name] = Module(kind=module.path.rpartition(".")[2], attributes=_attributes(module, stored))
        for key, place in (_members(module, "_parameters") | _members(module, "_buffers")).items():
            if isinstance(place, TensorPlace):
                arrays[f"{name}.{key}" if name else str(key)] = stored.at(place)
    return Pickled(arrays=arrays, modules=modules, chosen=chosen)


def _open_zip(path: Path) -> tuple[Any, Content]:
    """The object in a .pt of PyTorch 1.6 or later, and a function that returns the bytes of a storage."""
    archive = zipfile.ZipFile(path)
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise RefusedError(f"a zip file with {len(pickles)} files data.pkl; expected one, as in a .pt of PyTorch")
    prefix = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        if prefix + name not in members:
            raise RefusedError(f"has no {name[:40]!r}; the file is truncated")
        found = members[prefix + name]
        if found.compress_type != zipfile.ZIP_STORED:
            raise RefusedError(f"{name[:40]!r} is compressed; expected uncompressed data, as PyTorch writes it")
        return archive.read(found)

    if prefix + "byteorder" in members and member("byteorder").strip() != b"little":
        raise RefusedError("its numbers are big-endian; expected little-endian")
    root = _Unpickler(io.BytesIO(member("data.pkl"))).load()
    return root, lambda storage: member(f"data/{storage.key}")


def _open_legacy(path: Path) -> tuple[Any, Content]:
    """The same for a .pt before PyTorch 1.6: five pickles in a row, then the numbers."""
    stream = io.BytesIO(path.read_bytes())
    magic, version, _system = (_Unpickler(stream).load() for _ in range(3))
    if magic != LEGACY_MAGIC or version != LEGACY_VERSION:
        raise RefusedError("a pickle, but not a .pt of PyTorch")
    unpickler = _Unpickler(stream)
    root, keys = unpickler.load(), _Unpickler(stream).load()
    starts: dict[str, int] = {}
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        starts[key] = stream.tell()
        after = starts[key] + count * ITEM_BYTES[unpickler.kinds[key]]
        if count < 0 or after > stream.getbuffer().nbytes:
            raise RefusedError("ends inside its numbers; the file is truncated")
        stream.seek(after)

    def content(storage: Storage) -> bytes:
        stream.seek(starts[storage.key])
        return stream.read(storage.count * ITEM_BYTES[storage.kind])

    return root, content


def _network(root: Any) -> tuple[str, StandIn]:
    """The network in the saved object, with its key; the EMA weights if there are any."""
    if isinstance(root, StandIn):
        return "", root
    if isinstance(root, dict):
        for key in ("ema", "model"):
            if isinstance(root.get(key), StandIn):
                return key, root[key]
        if any(isinstance(value, TensorPlace) for value in root.values()):
            raise RefusedError(
                "holds only arrays (a state_dict), without activation and anchors; save the whole model, as "
                "Ultralytics' training does"
            )
    raise RefusedError("holds no network under 'ema' or 'model'; expected a .pt saved by Ultralytics' training")


def _walk(name: str, module: Any, depth: int) -> Iterator[tuple[str, StandIn]]:
    """Yields (name, module) for a module and all modules inside it."""
    if not isinstance(module, StandIn) or depth > MOST_DEPTH:
        raise RefusedError(f"module {name[:100]!r} is in a form that is unknown")
    yield name, module
    for key, child in _members(module, "_modules").items():
        if child is not None:
            yield from _walk(f"{name}.{key}" if name else str(key), child, depth + 1)


def _members(module: StandIn, kind: str) -> dict[Any, Any]:
    members = module.state.get(kind, {})
    if not isinstance(members, dict) or len(members) > MOST_MODULES:
        raise RefusedError(f"{kind} of a module are in a form that is unknown")
    return members


def _attributes(module: StandIn, stored: _Arrays) -> dict[str, Any]:
    """Those of ATTRIBUTES that are a number or text, or a list or mapping of these; small tensors as lists."""
    plain: dict[str, Any] = {}
    for name in ATTRIBUTES & module.state.keys():
        value = module.state[name]
        if isinstance(value, TensorPlace) and math.prod(value.shape) <= MOST_LISTED:
            plain[name] = stored.at(value).tolist()
        elif isinstance(value, PLAIN):
            plain[name] = value
        elif isinstance(value, list | tuple | dict) and len(value) <= MOST_LISTED:
            parts = list(value.values()) if isinstance(value, dict) else list(value)
            if all(isinstance(part, PLAIN) for part in parts):
                plain[name] = parts
    return plain
