"""Reads a PyTorch .pt file without executing it.

A pickle is a program: it names functions and calls them. Here every name is resolved only through the tables of
`unpickler`, and nothing is imported for a pickle, not even PyTorch. `read_pickled` runs in a separate process with
limits on memory, time and file size, so that a malformed file cannot hang the machine or fill its memory.

    python -m lookonce.weights.pickled FILE.pt FOLDER    writes FOLDER/arrays.safetensors and FOLDER/modules.json
"""

import io
import json
import math
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lookonce.errors import WeightsError
from lookonce.storage import temporary_folder
from lookonce.weights.unpickler import ITEM_BYTES, RefusedError, StandIn, Storage, TensorPlace, Unpickler

ARRAYS_FILE, MODULES_FILE = "arrays.safetensors", "modules.json"
MEMORY_BYTES, MEMORY_TIMES_FILE = 1 << 30, 8
CPU_SECONDS, WALL_SECONDS = 60, 180
MOST_DEPTH = 20  # nesting of modules; a network has 5
MOST_LISTED = 10_000  # items of an attribute, or elements of a tensor attribute
ZIP, LEGACY_MAGIC, LEGACY_VERSION = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the pickled network: its class name without the path, and its plain attributes."""

    kind: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """arrays: name -> array, floats as float32. modules: name ("" for the whole network) -> Module."""

    arrays: dict[str, NDArray[np.generic]]
    modules: dict[str, Module]
    chosen: str  # the entry of the file that is the network: "ema", "model" or "" for the file itself


def read_pickled(path: Path) -> Pickled:
    """The network in a .pt file, read in another process; WeightsError names what was refused or failed."""
    with temporary_folder() as folder:
        command = [sys.executable, "-P", "-m", "lookonce.weights.pickled", str(path), str(folder)]
        # One thread: each OpenBLAS thread reserves address space, which counts towards the memory limit.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=WALL_SECONDS, env=environment, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsError.at(
                path, f"reading it timed out after {WALL_SECONDS} s; the file is damaged or malicious"
            ) from error
        if done.returncode:
            reason = done.stdout.strip() or (
                f"reading it exceeded the limits on memory, time or file size (exit status {done.returncode})"
            )
            raise WeightsError.at(path, reason)
        return _collect(folder, path)


def _collect(folder: Path, path: Path) -> Pickled:
    try:
        arrays = load_file(folder / ARRAYS_FILE)
        content = json.loads((folder / MODULES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError.at(path, f"its content cannot be used ({error})") from error
    modules = {name: Module(kind=kind, attributes=values) for name, (kind, values) in content["modules"].items()}
    return Pickled(arrays=dict(arrays), modules=modules, chosen=content["chosen"])


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
    """The object in a .pt of PyTorch 1.6 or later, and a function that returns the bytes of a storage."""
    archive = zipfile.ZipFile(path)
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise RefusedError(f"a zip file with {len(pickles)} files data.pkl; expected one, as in a .pt of PyTorch")
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix + "constants.pkl" in members:
        raise RefusedError("is TorchScript, a program for inference; expected the weights that it was made from")

    def member(name: str) -> bytes:
        if prefix + name not in members:
            raise RefusedError(f"has no {name[:40]!r}; the file is truncated")
        found = members[prefix + name]
        if found.compress_type != zipfile.ZIP_STORED:
            raise RefusedError(f"{name[:40]!r} is compressed; expected uncompressed data, as PyTorch writes it")
        return archive.read(found)

    if prefix + "byteorder" in members and member("byteorder").strip() != b"little":
        raise RefusedError("its numbers are big-endian; expected little-endian")
    root = Unpickler(io.BytesIO(member("data.pkl"))).load()
    return root, lambda storage: member(f"data/{storage.key}")


def _open_legacy(path: Path) -> tuple[Any, Content]:
    """The same for a .pt before PyTorch 1.6: five pickles in a row, then the numbers."""
    stream = io.BytesIO(path.read_bytes())
    magic, version, _system = (Unpickler(stream).load() for _ in range(3))
    if magic != LEGACY_MAGIC or version != LEGACY_VERSION:
        raise RefusedError("a pickle, but not a .pt of PyTorch")
    unpickler = Unpickler(stream)
    root, keys = unpickler.load(), Unpickler(stream).load()
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
    """Attributes of a module that JSON can hold, other than its arrays; small tensors as lists."""
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
        raise RefusedError(
            f"storage {storage.key[:40]!r} has {len(numbers):,} bytes; the file is damaged; copy it again"
        )
    if storage.kind == "bfloat16":  # the upper half of a float32
        flat: NDArray[np.generic] = (np.frombuffer(numbers, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(numbers, storage.kind)
        flat = flat.astype(np.float32) if flat.dtype.kind == "f" else flat
    strides = tuple(stride * flat.itemsize for stride in place.strides)
    array = np.lib.stride_tricks.as_strided(flat[place.offset :], place.shape, strides, writeable=False)
    return np.ascontiguousarray(array).reshape(place.shape)


def _limit_this_process(file_bytes: int) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limits; the parent's time limit still applies
        return
    memory = MEMORY_BYTES + MEMORY_TIMES_FILE * file_bytes
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def read_or_reason(path: Path) -> Pickled | str:
    """The content of the file, or the reason why it cannot be read."""
    try:
        return read_in_this_process(path)
    except RefusedError as error:
        return str(error)
    except MemoryError:
        return "reading it exceeded the memory limit for its size; the file is damaged or malicious"
    except RecursionError:
        return "its objects are nested too deeply; the file is damaged or malicious"
    except Exception as error:  # noqa: BLE001 a broken pickle can raise anything
        return f"truncated or not a .pt file ({type(error).__name__}: {str(error)[:200]})"


def main(path: Path, folder: Path) -> int:
    _limit_this_process(path.stat().st_size)
    read = read_or_reason(path)
    if isinstance(read, str):
        sys.stdout.write(read)
        return 1
    save_file({name: np.ascontiguousarray(array) for name, array in read.arrays.items()}, folder / ARRAYS_FILE)
    modules = {name: (module.kind, dict(module.attributes)) for name, module in read.modules.items()}
    content = json.dumps({"modules": modules, "chosen": read.chosen})
    (folder / MODULES_FILE).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
