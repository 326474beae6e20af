"""Metadata of an exported file: its record (in .onnx stored here, else by the format's writer); result of `verify`."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import onnx

import lookonce
from lookonce.exporters.plan import ExportPlan
from lookonce.runtimes.exported import INTERFACE_KEY, RECORD_KEY, Interface
from lookonce.runtimes.kinds import kind_of
from lookonce.settings.record import ModelRecord, parse_record
from lookonce.shown import utf8
from lookonce.storage import write_file

VERIFIED_KEY = "lookonce_verified"  # beside the record


def describe(record: ModelRecord, plan: ExportPlan, **versions: str) -> ModelRecord:
    """The record of an exported file: `record` with the precision of the file and the versions of the exporters."""
    written_by = {"lookonce": lookonce.__version__, **versions}
    versions = {**record.versions, **written_by}
    return record.model_copy(
        update={"precision": plan.precision, "versions": versions, "settings": utf8(dict(record.settings))}
    )


def texts_of(record: ModelRecord, interface: Interface) -> dict[str, str]:
    """Key -> JSON, for formats that store both as texts; `runtimes.exported.described` reads them."""
    return {RECORD_KEY: record.model_dump_json(), INTERFACE_KEY: interface.model_dump_json()}


def embed(model: onnx.ModelProto, record: ModelRecord) -> None:
    """Stores the record as JSON in the model's metadata; replaces an existing one."""
    set_metadata(model, RECORD_KEY, record.model_dump_json())


def set_metadata(model: onnx.ModelProto, key: str, value: str) -> None:
    kept = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend([*kept, onnx.StringStringEntryProto(key=key, value=value)])


def read_record(model: onnx.ModelProto) -> ModelRecord:
    """The record that `embed` stored."""
    values = {entry.key: entry.value for entry in model.metadata_props}
    return parse_record(values[RECORD_KEY])


def store_verification(path: Path, text: str) -> bool:
    """Stores the result of `verify` in a file, replacing an earlier one. Returns False if the format cannot hold it."""
    store = {"onnx": _store_in_onnx, "openvino": _store_in_openvino, "ncnn": _store_in_folder}.get(kind_of(path))
    if store is None:
        return False
    store(path, text)
    return True


def _store_in_onnx(path: Path, text: str) -> None:
    proto = onnx.load_model_from_string(path.read_bytes())
    set_metadata(proto, VERIFIED_KEY, text)
    write_file(path, proto.SerializeToString())


def _store_in_openvino(path: Path, text: str) -> None:
    """Stores it in the model's rt_info, beside the record; the weights stay unchanged."""
    tree = ET.parse(path)
    info = tree.getroot().find("rt_info")
    if info is None:
        info = ET.SubElement(tree.getroot(), "rt_info")
    for old in info.findall(VERIFIED_KEY):
        info.remove(old)
    ET.SubElement(info, VERIFIED_KEY, value=text)
    content = io.BytesIO()
    tree.write(content, encoding="utf-8", xml_declaration=True)
    write_file(path, content.getvalue())


def _store_in_folder(path: Path, text: str) -> None:
    write_file(path / f"{VERIFIED_KEY}.json", text)
