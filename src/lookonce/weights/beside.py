"""The record of a network beside its weights in another program's file, which holds little but numbers.

NAME.ckpt.json beside NAME.ckpt: {"lookonce_record": what config.record.ModelRecord says, "sha256": that of NAME.ckpt}.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lookonce.config.record import ModelRecord
from lookonce.errors import WeightsError
from lookonce.storage import sha256_file
from lookonce.weights.foreign import ForeignWeights, ReadOptions


class Beside(BaseModel):
    """What the file holds. sha256: of the weights, so that it cannot speak for others that took their name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookonce_record: ModelRecord
    sha256: str


def record_file(weights: Path) -> Path:
    """Where the record of such a file lies: under its whole name, as two programs' files may have one stem."""
    return weights.with_name(f"{weights.name}.json")


def text_beside(record: ModelRecord, weights: bytes) -> str:
    """The content of such a file for weights of this content."""
    beside = Beside(lookonce_record=record, sha256=hashlib.sha256(weights).hexdigest())
    return beside.model_dump_json(indent=1) + "\n"


def with_record_beside(read: ForeignWeights, weights: Path, options: ReadOptions) -> ForeignWeights:
    """What was read, with the record that lies beside it, if one does; what `options` say comes first."""
    path = record_file(weights)
    if read.is_backbone or not path.is_file():
        return read
    told, own = read_beside(path, weights), read.record
    if (told.channels, told.num_classes) != (own.channels, own.num_classes):
        raise WeightsError(
            f"{path}: describes {told.num_classes} classes and channels {told.channels}, {weights.name} has "
            f"{own.num_classes} and {own.channels}; {NEXT_STEP}"
        )
    wanted: dict[str, Any] = {"settings": {**told.settings, **own.settings}}
    if options.class_names:
        wanted |= {"class_names": own.class_names, "names_known": True}
    if options.image_size is not None:
        wanted["image_size"] = own.image_size
    if options.resize != "auto":
        wanted["preprocessing"] = told.preprocessing.model_copy(update={"resize": options.resize})
    if options.masks != "auto":
        wanted["masks"] = own.masks
    note = f"names, category ids, input size, anchors and preprocessing are those of {path.name} beside it"
    return replace(read, record=told.model_copy(update=wanted), notes=(*read.notes, note), assumed=())


NEXT_STEP = "move it away to read the weights without it, or let `lookonce convert` write both again"


def read_beside(path: Path, weights: Path) -> ModelRecord:
    """The record in such a file; WeightsError where it is another one, or was written for other weights."""
    try:
        found = Beside.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise WeightsError(
            f"{path}: is not what lookonce writes beside weights: {where}: {problem['msg']}; {NEXT_STEP}"
        ) from error
    if found.sha256 != sha256_file(weights):
        raise WeightsError(f"{path}: was written for other weights than {weights} holds now; {NEXT_STEP}")
    return found.lookonce_record
