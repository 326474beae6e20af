"""The checkpoint format: a folder that is written atomically and verified by SHA-256 when it is read.

model.safetensors        weights of the network, float32 (EMA weights if EMA is on)
record.json              class names, anchors, preprocessing ...: lookonce.settings.record.ModelRecord
training.safetensors     only if the run can resume: weights without EMA, and optimizer state
training.json            likewise: counters, random state and other values of the run
manifest.json            SHA-256 and size of each file above: safetensors does not detect damage itself
COMPLETE                 empty, written last
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from lookonce.errors import WeightsError
from lookonce.log import get_logger
from lookonce.parsed import parse_json
from lookonce.settings.record import MODEL_FILE, ModelRecord, parse_record
from lookonce.shown import to_json
from lookonce.storage import (
    MARKER,
    atomic_folder,
    find_published,
    read_regular_file,
    read_text_file,
    require_content,
    sha256_file,
)

if TYPE_CHECKING:
    from torch import Tensor

RECORD_FILE = "record.json"
TRAINING_ARRAYS_FILE = "training.safetensors"
TRAINING_FILE = "training.json"
MANIFEST_FILE = "manifest.json"
FILES = (MODEL_FILE, RECORD_FILE, TRAINING_ARRAYS_FILE, TRAINING_FILE)


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run needs, besides its settings, to resume, on a CPU bit-exactly.

    tensors: name -> array, any dtype; values: any JSON values (floats are restored bit-exactly).
    """

    tensors: "Mapping[str, Tensor]"
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint. state: name -> float32 array of the network, on the CPU."""

    folder: Path
    state: "Mapping[str, Tensor]"
    record: ModelRecord
    training: TrainingState | None


def save_checkpoint(
    folder: Path,
    *,
    state: "Mapping[str, Tensor]",
    record: ModelRecord,
    training_state: TrainingState | None = None,
    previous: Path | None = None,
) -> None:
    """Write or replace a checkpoint atomically: after a kill or a full disk the one before is still complete.

    previous: folder for the checkpoint that is replaced. A damaged one does not go there, so that what is there stays.
    """
    if previous is not None and find_published(folder) is not None and (fault := fault_of(folder)) is not None:
        get_logger().warning(f"{fault}; replaced by a new save; is the disk in order?")
        previous = None
    with atomic_folder(folder, previous=previous) as new:
        # Float32, but for BatchNorm's integer batch counters.
        floats = {name: array.float() if array.is_floating_point() else array for name, array in state.items()}
        _write_arrays(new / MODEL_FILE, floats)
        _write_json(new / RECORD_FILE, record.model_dump(mode="json"))
        if training_state is not None:
            _write_arrays(new / TRAINING_ARRAYS_FILE, training_state.tensors)
            _write_json(new / TRAINING_FILE, dict(training_state.values))
        _write_manifest(new)


def replace_record(folder: Path, record: ModelRecord) -> None:
    """Replace the record of a complete checkpoint atomically; its other files stay byte for byte."""
    files = _verified_files(_complete(folder)) - {RECORD_FILE}
    with atomic_folder(folder) as new:  # it moves the complete version to `folder` first, if it was elsewhere
        for name in files:
            shutil.copyfile(folder / name, new / name)
        _write_json(new / RECORD_FILE, record.model_dump(mode="json"))
        _write_manifest(new)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint after verifying every file against the manifest; WeightsError names the fault."""
    source = _complete(folder)
    files = _verified_files(source)
    training = None
    if TRAINING_FILE in files:
        arrays = _read_arrays(source / TRAINING_ARRAYS_FILE)
        training = TrainingState(tensors=arrays, values=_read_json(source / TRAINING_FILE))
    return Checkpoint(
        folder=source, state=_read_arrays(source / MODEL_FILE), record=read_record(source), training=training
    )


def fault_of(folder: Path) -> WeightsError | None:
    """The error of a checkpoint that is missing, or whose files are not those that were written; None if they are."""
    try:
        _verified_files(_complete(folder))
    except WeightsError as error:
        return error
    return None


def first_intact(folders: Sequence[Path]) -> Path:
    """The first checkpoint whose files are those that were written. WeightsError of the first if there is none."""
    fault = fault_of(folders[0])
    if fault is None:
        return folders[0]
    intact = next((folder for folder in folders[1:] if fault_of(folder) is None), None)
    if intact is None:
        raise fault
    return intact


def read_training_values(folder: Path) -> Mapping[str, Any]:
    """The values in training.json of a checkpoint; empty if it holds only weights, from which no run can resume."""
    source = find_published(folder)
    if source is None or not (source / TRAINING_FILE).is_file():
        return {}
    manifest = _read_manifest(source)
    if TRAINING_FILE in manifest:
        _verify(source / TRAINING_FILE, manifest[TRAINING_FILE])
    return _read_json(source / TRAINING_FILE)


def read_record(folder: Path) -> ModelRecord:
    """The record of a checkpoint folder, also after a kill, without its arrays."""
    path = (find_published(folder) or folder) / RECORD_FILE
    try:
        return parse_record(path.read_bytes(), can_be_backbone=True)
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror}); {NEXT_STEP}") from error
    except ValueError as error:
        raise WeightsError.at(
            path, f"{error}; another version of lookonce wrote it, or it was edited; {NEXT_STEP}"
        ) from error


def _write_manifest(folder: Path) -> None:
    files = sorted(folder.iterdir())
    entries = {path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in files}
    _write_json(folder / MANIFEST_FILE, entries)


def _verified_files(folder: Path) -> set[str]:
    """Names of the files in the manifest, after verifying their sizes and hashes."""
    manifest = _read_manifest(folder)
    missing = {MODEL_FILE, RECORD_FILE} - manifest.keys()
    if missing:
        raise WeightsError.at(folder / MANIFEST_FILE, f"does not list {', '.join(sorted(missing))}; {NEXT_STEP}")
    for name, expected in manifest.items():
        _verify(folder / name, expected)
    return set(manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """File name -> its fingerprint; WeightsError if an entry is not one, or names a file elsewhere."""
    path = folder / MANIFEST_FILE
    manifest = _read_json(path)
    for name, expected in manifest.items():
        is_fingerprint = isinstance(expected, dict) and expected.keys() >= {"sha256", "bytes"}
        if not is_fingerprint or name not in FILES:
            raise WeightsError.at(
                path,
                f"{name[:80]!r}: {str(expected)[:80]}; expected one of {', '.join(FILES)}, with sha256 and bytes; "
                f"{NEXT_STEP}",
            )
    return manifest


def _verify(path: Path, expected: Any) -> None:
    if not path.is_file():
        raise WeightsError.at(path, f"missing, but listed in {MANIFEST_FILE}; {NEXT_STEP}")
    size = path.stat().st_size
    if size != expected["bytes"]:
        require_content(path, WeightsError)
        raise WeightsError.at(path, f"{size} bytes, expected {expected['bytes']} ({MANIFEST_FILE}); {NEXT_STEP}")
    digest = sha256_file(path)
    if digest != expected["sha256"]:
        raise WeightsError.at(
            path, f"damaged: SHA-256 is {digest}, expected {expected['sha256']} ({MANIFEST_FILE}); {NEXT_STEP}"
        )


NEXT_STEP = "copy the folder again from its source, or use the other checkpoint of the run (checkpoints/best or last)"


def _complete(folder: Path) -> Path:
    """Where the complete version of a checkpoint is; WeightsError without one."""
    source = find_published(folder)
    if source is not None:
        return source
    what = "an incomplete copy, or not a checkpoint" if folder.exists() else "no such folder"
    more = f"; {NEXT_STEP}" if folder.exists() else ""
    raise WeightsError.at(
        folder, f"{what}; expected a checkpoint folder with {MODEL_FILE}, {RECORD_FILE} and {MARKER}{more}"
    )


def _write_arrays(path: Path, arrays: "Mapping[str, Tensor]") -> None:
    from safetensors.torch import save  # and PyTorch, which the record does not need

    # Written by Python, not by safetensors, whose error hides that the disk is full.
    path.write_bytes(save({name: array.detach().cpu().contiguous() for name, array in arrays.items()}))


def _read_arrays(path: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load

    try:
        return load(read_regular_file(path))  # `load_file` refuses a path that is not UTF-8
    except (SafetensorError, OSError) as error:
        raise WeightsError.at(path, f"not a safetensors file ({error}); {NEXT_STEP}") from error


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text_file(path))
    except (OSError, ValueError) as error:
        raise WeightsError.at(path, f"cannot be read as JSON ({error}); {NEXT_STEP}") from error
    if not isinstance(value, dict):
        raise WeightsError.at(path, f"contains a {type(value).__name__}; expected a JSON object; {NEXT_STEP}")
    return value
