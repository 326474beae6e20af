"""What lies in a .pt file of PyTorch, told without executing it.

A pickle is a program: it names functions and calls them. Here every name it utters is looked up in the tables below
and nowhere else: tensors become places in the file, containers become containers, modules of networks become empty
stand-ins that keep what they are given; any other name ends the reading. Nothing is imported for a pickle, PyTorch
included. `read_pickled` does this in a process of its own with limits on memory, time and files, so that what is
malformed rather than malicious cannot hang or fill the machine either.

    python -m lookonce.weights.pickled FILE.pt FOLDER    writes FOLDER/arrays.safetensors and FOLDER/modules.json
"""

import io
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lookonce.errors import WeightsError

ARRAYS_FILE, MODULES_FILE = "arrays.safetensors", "modules.json"
MEMORY_BYTES, MEMORY_TIMES_FILE = 1 << 30, 8
CPU_SECONDS, WALL_SECONDS = 60, 180
MOST_DEPTH = 20  # of modules in modules; a network has 5
MOST_DIMENSIONS = 8
MOST_LISTED = 10_000  # items of an attribute, and elements of a tensor that is one
ZIP, LEGACY_MAGIC, LEGACY_VERSION = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001

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
# Families of classes whose objects are kept as stand-ins, and single names likewise.
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
    """The file names or holds something that is not admitted."""


@dataclass(frozen=True)
class Storage:
    """Numbers somewhere in the file: key is their name there, kind a value of STORAGES."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class TensorPlace:
    """A tensor as elements of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StandIn:
    """An object of a class that is not here: it keeps what it is told and does nothing."""

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
    """One module of the pickled network: the last part of its class's name, and its plain attributes."""

    kind: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """arrays: name -> numbers, floats as float32. modules: name ("" for the whole network) -> Module."""

    arrays: dict[str, NDArray[np.generic]]
    modules: dict[str, Module]
    chosen: str  # which entry of the file the network is: "ema", "model" or "" for the file itself


def read_pickled(path: Path) -> Pickled:
    """The network in a .pt file, read by another process; WeightsError names what was refused or went wrong."""
    with tempfile.TemporaryDirectory(prefix="lookonce-") as folder:
        command = [sys.executable, "-P", "-m", "lookonce.weights.pickled", str(path), folder]
        # One thread: each thread of OpenBLAS takes address space, which is what the limit counts.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=WALL_SECONDS, env=environment, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsError(f"{path}: reading it took over {WALL_SECONDS} s and was ended", path=path) from error
        if done.returncode:
            said = done.stdout.strip() or f"reading it ended with status {done.returncode}: over the limits for it"
            raise WeightsError(f"{path}: {said}", path=path)
        return _collect(Path(folder), path)


def _collect(folder: Path, path: Path) -> Pickled:
    try:
        arrays = load_file(folder / ARRAYS_FILE)
        told = json.loads((folder / MODULES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: what was read of it cannot be used ({error})", path=path) from error
    modules = {name: Module(kind=kind, attributes=attributes) for name, (kind, attributes) in told["modules"].items()}
    return Pickled(arrays=dict(arrays), modules=modules, chosen=told["chosen"])


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.kinds: dict[str, str] = {}  # of every storage that was named

    def find_class(self, module_name: str, global_name: str) -> Any:
        return admitted(module_name, global_name)

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":  # before 1.6: a class with its source
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], str):
            raise RefusedError("refers to something that is not a storage of numbers")
        key, count = pid[2], pid[4]
        if not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise RefusedError("names a storage in a form that is unknown")
        if pid[1] not in ITEM_BYTES:
            raise RefusedError("names a storage of unknown numbers")
        self.kinds[key] = pid[1]
        return Storage(key=key, kind=pid[1], count=count)


def admitted(module_name: str, global_name: str) -> Any:
    """What a name in a pickle stands for here; RefusedError for all names but those of the tables."""
    path = f"{module_name}.{global_name}"
    if path in FUNCTIONS:
        return FUNCTIONS[path]
    if module_name == "torch" and global_name in STORAGES:
        return STORAGES[global_name]
    if path.startswith(MODULE_FAMILIES) or path in STAND_INS:
        return type("StandInOf", (StandIn,), {"path": path})
    raise RefusedError(
        f"refused: it asks for {path[:100]}, which is neither a tensor, a plain container nor a module of a network; "
        "nothing of it was executed"
    )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> TensorPlace:
    numbers = (offset, *shape, *strides)
    fine = isinstance(storage, Storage) and len(shape) == len(strides) <= MOST_DIMENSIONS
    if not fine or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise RefusedError("holds a tensor in a form that is unknown")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and (last >= storage.count or math.prod(shape) > storage.count):
        raise RefusedError("holds a tensor that reaches outside its storage")
    return TensorPlace(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *_rest: Any) -> Any:
    return tensor


def _shape(sizes: Any = ()) -> tuple[Any, ...]:
    return tuple(sizes)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _shape,
    "builtins.set": set,
    "__builtin__.set": set,
}
Content = Callable[[Storage], bytes]


def read_in_this_process(path: Path) -> Pickled:
    """`read_pickled` without its limits: the caller must have set them."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    root, content = _open_zip(path) if start == ZIP else _open_legacy(path)
    chosen, network = _network(root)
    modules: dict[str, Module] = {}
    places: dict[str, TensorPlace] = {}
    for name, module in _walk("", network, 0):
        modules[name] = Module(kind=module.path.rpartition(".")[2], attributes=_plain_attributes(module, content))
        places |= _tensors(name, module)
    arrays = {name: _array(place, content) for name, place in places.items()}
    return Pickled(arrays=arrays, modules=modules, chosen=chosen)


def _open_zip(path: Path) -> tuple[Any, Content]:
    """The object of a .pt of PyTorch 1.6 and later, and what gives the bytes of a storage."""
    archive = zipfile.ZipFile(path)
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise RefusedError(
            f"a zip file with {len(pickles)} files data.pkl in it, expected one: is it a .pt of PyTorch?"
        )
    prefix = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        if prefix + name not in members:
            raise RefusedError(f"holds no {name[:40]}; the file is incomplete")
        found = members[prefix + name]
        if found.compress_type != zipfile.ZIP_STORED:
            raise RefusedError(f"{name[:40]} is compressed, which PyTorch does not do")
        return archive.read(found)

    if prefix + "byteorder" in members and member("byteorder").strip() != b"little":
        raise RefusedError("its numbers are big-endian, which is not read")
    root = _Unpickler(io.BytesIO(member("data.pkl"))).load()
    return root, lambda storage: member(f"data/{storage.key}")


def _open_legacy(path: Path) -> tuple[Any, Content]:
    """The same of a .pt before 1.6: five pickles in a row, then the numbers."""
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
            raise RefusedError("ends inside its numbers; the file is incomplete")
        stream.seek(after)

    def content(storage: Storage) -> bytes:
        stream.seek(starts[storage.key])
        return stream.read(storage.count * ITEM_BYTES[storage.kind])

    return root, content


def _network(root: Any) -> tuple[str, StandIn]:
    """The network among what was saved: its running average if there is one."""
    if isinstance(root, StandIn):
        return "", root
    if isinstance(root, dict):
        for key in ("ema", "model"):
            if isinstance(root.get(key), StandIn):
                return key, root[key]
        if any(isinstance(value, TensorPlace) for value in root.values()):
            raise RefusedError(
                "holds arrays without their network (a state_dict), so its activation and anchors are not in it; "
                "save the whole model, as Ultralytics' training does"
            )
    raise RefusedError("holds no network under 'ema' or 'model'; expected a .pt as Ultralytics' training saves it")


def _walk(name: str, module: Any, depth: int) -> Iterator[tuple[str, StandIn]]:
    """A module and those in it, with their names."""
    if not isinstance(module, StandIn) or depth > MOST_DEPTH:
        raise RefusedError(f"module {name[:100]!r} is in a form that is unknown")
    yield name, module
    children = module.state.get("_modules", {})
    if not isinstance(children, dict):
        raise RefusedError(f"module {name[:100]!r} is in a form that is unknown")
    for key, child in children.items():
        if child is not None:
            yield from _walk(f"{name}.{key}" if name else str(key), child, depth + 1)


def _tensors(name: str, module: StandIn) -> dict[str, TensorPlace]:
    found = {}
    for kind in ("_parameters", "_buffers"):
        for key, place in dict(module.state.get(kind, {})).items():
            if isinstance(place, TensorPlace):
                found[f"{name}.{key}" if name else str(key)] = place
    return found


def _plain_attributes(module: StandIn, content: Content) -> dict[str, Any]:
    """What a module knows beside its arrays, as far as JSON can hold it; small tensors as lists."""
    plain: dict[str, Any] = {}
    for key, value in module.state.items():
        if isinstance(value, TensorPlace) and math.prod(value.shape) <= MOST_LISTED:
            plain[str(key)] = _array(value, content).tolist()
        elif not str(key).startswith("_") and _is_plain(value):
            plain[str(key)] = value
    return plain


def _is_plain(value: Any, depth: int = 0) -> bool:
    if value is None or isinstance(value, bool | int | float | str):
        return True
    if depth > 3 or not isinstance(value, list | tuple | dict) or len(value) > MOST_LISTED:
        return False
    if isinstance(value, dict) and not all(isinstance(key, str | int) for key in value):
        return False
    return all(_is_plain(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value))


def _array(place: TensorPlace, content: Content) -> NDArray[np.generic]:
    storage = place.storage
    numbers = content(storage)
    if len(numbers) != storage.count * ITEM_BYTES[storage.kind]:
        raise RefusedError(f"storage {storage.key[:40]!r} has {len(numbers):,} bytes; the file is damaged")
    flat = _numbers(numbers, storage.kind)
    strides = tuple(stride * flat.itemsize for stride in place.strides)
    array = np.lib.stride_tricks.as_strided(flat[place.offset :], place.shape, strides, writeable=False)
    return np.ascontiguousarray(array).reshape(place.shape)


def _numbers(content: bytes, kind: str) -> NDArray[np.generic]:
    if kind == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    numbers = np.frombuffer(content, kind)
    return numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers


def _limit_this_process(file_bytes: int) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows has other means; the parent's time limit holds there
        return
    memory = MEMORY_BYTES + MEMORY_TIMES_FILE * file_bytes
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def read_or_say(path: Path) -> Pickled | str:
    """What the file holds, or why it cannot be read."""
    try:
        return read_in_this_process(path)
    except RefusedError as error:
        return str(error)
    except MemoryError:
        return "reading it takes more memory than a file of its size may; the file is damaged or made to do harm"
    except RecursionError:
        return "its parts lie too deep in one another; the file is damaged or made to do harm"
    except Exception as error:  # noqa: BLE001 whatever a broken pickle can make of the tables above
        return f"not a complete .pt file ({type(error).__name__}: {str(error)[:200]})"


def main(path: Path, folder: Path) -> int:
    _limit_this_process(path.stat().st_size)
    read = read_or_say(path)
    if isinstance(read, str):
        sys.stdout.write(read)
        return 1
    save_file({name: np.ascontiguousarray(array) for name, array in read.arrays.items()}, folder / ARRAYS_FILE)
    modules = {name: (module.kind, dict(module.attributes)) for name, module in read.modules.items()}
    told = json.dumps({"modules": modules, "chosen": read.chosen})
    (folder / MODULES_FILE).write_text(told, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
