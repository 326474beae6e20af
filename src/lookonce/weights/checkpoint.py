"""Our checkpoint: a folder that is complete or not there, and that notices a flipped bit.

model.safetensors        the network's arrays, float32 (the running average where there is one)
record.json              what is needed to use them: lookonce.config.record.ModelRecord
training.safetensors     only where the run can go on: arrays of the network as trained and of the optimizer
training.json            ... and the numbers beside them
manifest.json            SHA-256 and size of each of the files above: safetensors does not notice damage itself
COMPLETE                 empty, written last
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lookonce.config.record import ModelRecord
from lookonce.errors import WeightsError
from lookonce.storage import MARKER, atomic_folder, find_published, sha256_file

MODEL_FILE = "model.safetensors"
RECORD_FILE = "record.json"
TRAINING_ARRAYS_FILE = "training.safetensors"
TRAINING_FILE = "training.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run needs, beside its settings, to go on as if it had never stopped.

    tensors: name -> array, any dtype; values: anything JSON can hold (floats come back bit for bit).
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint. state: name -> float32 array of the network, on the CPU."""

    folder: Path
    state: Mapping[str, Tensor]
    record: ModelRecord
    training: TrainingState | None


def save_checkpoint(
    folder: Path, *, state: Mapping[str, Tensor], record: ModelRecord, training_state: TrainingState | None = None
) -> None:
    """Write or replace a checkpoint; a kill or a full disk at any moment leaves the previous one to be found."""
    with atomic_folder(folder) as new:
        _write_arrays(new / MODEL_FILE, {name: _as_float32(array) for name, array in state.items()})
        _write_json(new / RECORD_FILE, record.model_dump(mode="json"))
        if training_state is not None:
            _write_arrays(new / TRAINING_ARRAYS_FILE, training_state.tensors)
            _write_json(new / TRAINING_FILE, dict(training_state.values))
        _write_manifest(new)


def replace_record(folder: Path, record: ModelRecord) -> None:
    """Give a complete checkpoint another record; its other files stay byte for byte, a kill leaves either version."""
    source = find_published(folder)
    if source is None:
        raise WeightsError(_not_complete(folder), path=folder)
    files = _verified_files(source) - {RECORD_FILE}
    with atomic_folder(folder) as new:  # which has moved the complete version to `folder`, if it was elsewhere
        for name in files:
            shutil.copyfile(folder / name, new / name)
        _write_json(new / RECORD_FILE, record.model_dump(mode="json"))
        _write_manifest(new)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint after comparing every file with the manifest; WeightsError names what is wrong."""
    source = find_published(folder)
    if source is None:
        raise WeightsError(_not_complete(folder), path=folder)
    files = _verified_files(source)
    training = None
    if TRAINING_FILE in files:
        arrays = _read_arrays(source / TRAINING_ARRAYS_FILE)
        training = TrainingState(tensors=arrays, values=_read_json(source / TRAINING_FILE))
    return Checkpoint(
        folder=source, state=_read_arrays(source / MODEL_FILE), record=read_record(source), training=training
    )


def read_training_values(folder: Path) -> Mapping[str, Any]:
    """The numbers of a checkpoint that a run can go on from, without its arrays; empty where it holds weights only."""
    source = find_published(folder)
    return _read_json(source / TRAINING_FILE) if source and (source / TRAINING_FILE).is_file() else {}


def read_record(folder: Path) -> ModelRecord:
    """The record of a checkpoint folder, without its arrays."""
    path = folder / RECORD_FILE
    try:
        return ModelRecord.model_validate(_read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise WeightsError(
            f"{path}: {where}: {problem['msg']}; it was written by another version of lookonce, or edited by hand",
            path=path,
        ) from error


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir())
    _write_json(folder / MANIFEST_FILE, {path.name: _fingerprint(path) for path in files})


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def _verified_files(folder: Path) -> set[str]:
    """Names of the files listed in the manifest, each of which has the size and hash written there."""
    manifest = _read_json(folder / MANIFEST_FILE)
    missing = {MODEL_FILE, RECORD_FILE} - manifest.keys()
    if missing:
        raise WeightsError(
            f"{folder / MANIFEST_FILE}: does not list {', '.join(sorted(missing))}; {NEXT_STEP}",
            path=folder / MANIFEST_FILE,
        )
    for name, expected in manifest.items():
        _verify(folder / name, expected)
    return set(manifest)


def _verify(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: listed in {MANIFEST_FILE} but not there; {NEXT_STEP}", path=path)
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise WeightsError(f"{path}: {size} bytes, {MANIFEST_FILE} says {expected['bytes']}; {NEXT_STEP}", path=path)
    digest = sha256_file(path)
    if digest != expected["sha256"]:
        raise WeightsError(
            f"{path}: damaged: SHA-256 is {digest}, {MANIFEST_FILE} says {expected['sha256']}; {NEXT_STEP}",
            path=path,
        )


NEXT_STEP = "copy the folder again from where it came, or use the other checkpoint of the run (checkpoints/best, /last)"


def _not_complete(folder: Path) -> str:
    if not folder.exists():
        return f"{folder}: no such folder; expected a checkpoint folder with {MODEL_FILE}, {RECORD_FILE} and {MARKER}"
    return (
        f"{folder}: not a complete checkpoint (no file {MARKER} in it): a copy cut short, or no checkpoint; {NEXT_STEP}"
    )


def _write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    # Through Python's own writing: safetensors' hides a full disk inside an error of its own kind.
    path.write_bytes(save({name: array.detach().cpu().contiguous() for name, array in arrays.items()}))


def _read_arrays(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}); {NEXT_STEP}", path=path) from error


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error}); {NEXT_STEP}", path=path) from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: holds a {type(value).__name__}, expected a JSON object; {NEXT_STEP}", path=path)
    return value


def _as_float32(array: Tensor) -> Tensor:
    """BatchNorm's batch counters stay integers; everything else is float32."""
    return array.to(torch.float32) if array.is_floating_point() else array
