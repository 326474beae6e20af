"""The record in a .json file beside weights in another program's format, which has no place for it.

NAME.ckpt.json beside NAME.ckpt: {"lookonce_record": a settings.record.ModelRecord, "sha256": hash of NAME.ckpt}.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lookonce.errors import WeightsError
from lookonce.settings.record import ModelRecord, problem_of, require_consistent
from lookonce.shown import utf8
from lookonce.storage import read_regular_file, sha256_file
from lookonce.weights.foreign import ForeignWeights, ReadOptions


class Beside(BaseModel):
    """Content of the file. sha256: of the weights, so that the record is never applied to other weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookonce_record: ModelRecord
    sha256: str


def record_file(weights: Path) -> Path:
    """Path of the record: the full name plus .json, because files of two programs may share a stem."""
    return weights.with_name(f"{weights.name}.json")


def text_beside(record: ModelRecord, weights: bytes) -> str:
    record = record.model_copy(update={"settings": utf8(dict(record.settings))})
    beside = Beside(lookonce_record=record, sha256=hashlib.sha256(weights).hexdigest())
    return beside.model_dump_json(indent=1) + "\n"


def with_record_beside(read: ForeignWeights, weights: Path, options: ReadOptions) -> ForeignWeights:
    """The weights with the record beside them, if there is one; `options` take precedence over the record."""
    path = record_file(weights)
    if read.is_backbone or not path.is_file():
        return read
    record, own = read_beside(path, weights), read.record
    if (record.channels, record.num_classes) != (own.channels, own.num_classes):
        described = f"describes {record.num_classes} classes and channels {record.channels}"
        has = f"{weights.name} has {own.num_classes} and {own.channels}"
        raise WeightsError.at(path, f"{described}, {has}; {NEXT_STEP}")
    wanted: dict[str, Any] = {"settings": {**record.settings, **own.settings}}
    if options.class_names:
        wanted |= {"class_names": own.class_names, "names_known": True}
    if options.image_size is not None:
        wanted["image_size"] = own.image_size
    if options.resize != "auto":
        wanted["preprocessing"] = record.preprocessing.model_copy(update={"resize": options.resize})
    if options.masks != "auto":
        wanted["masks"] = own.masks
    note = f"class names, category ids, input size, anchors and preprocessing come from {path.name} beside it"
    return replace(read, record=record.model_copy(update=wanted), notes=(*read.notes, note), assumed=())


NEXT_STEP = "move it away to read the weights without it, or write both files again with `lookonce convert`"


def read_beside(path: Path, weights: Path) -> ModelRecord:
    """The record in the file; WeightsError when it is another kind of file, or belongs to other weights."""
    try:
        found = Beside.model_validate_json(read_regular_file(path), strict=True)
        require_consistent(found.lookonce_record)
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise WeightsError.at(path, f"not a lookonce record: {problem_of(error)}; {NEXT_STEP}") from error
    if found.sha256 != sha256_file(weights):
        raise WeightsError.at(path, f"does not belong to {weights} (different SHA-256); {NEXT_STEP}")
    return found.lookonce_record
