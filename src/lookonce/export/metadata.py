"""The record inside an exported file."""

import onnx

import lookonce
from lookonce.config.record import ModelRecord
from lookonce.runtimes.exported import RECORD_KEY


def describe(record: ModelRecord, **versions: str) -> ModelRecord:
    """The record of an exported file: with the versions of what wrote it."""
    written_by = {"lookonce": lookonce.__version__, **versions}
    return record.model_copy(update={"versions": {**record.versions, **written_by}})


def embed(model: onnx.ModelProto, record: ModelRecord) -> None:
    """Put the record, as JSON, into the model's metadata, in place of one that is already there."""
    kept = [entry for entry in model.metadata_props if entry.key != RECORD_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=RECORD_KEY, value=record.model_dump_json())])


def read_record(model: onnx.ModelProto) -> ModelRecord:
    """The record that `embed` put there."""
    values = {entry.key: entry.value for entry in model.metadata_props}
    return ModelRecord.model_validate_json(values[RECORD_KEY])
