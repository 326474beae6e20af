"""Detects the format of a file or folder from its content; its name is only a fallback."""

import zipfile
from pathlib import Path
from typing import Literal

Kind = Literal[
    "checkpoint", "onnx", "openvino", "torchscript", "torch-export", "ncnn", "executorch", "tflite", "coreml", "mindir"
]
# Format by suffix, for content that is not recognised: that format's runtime gives the best error message.
PROMISES: dict[str, Kind] = {
    ".onnx": "onnx",
    ".xml": "openvino",
    ".torchscript": "torchscript",
    ".pt2": "torch-export",
    ".ncnn": "ncnn",
    ".pte": "executorch",
    ".tflite": "tflite",
    ".mlpackage": "coreml",
    ".mindir": "mindir",
}
FLATBUFFERS: dict[bytes, Kind] = {b"ET12": "executorch", b"TFL3": "tflite"}
NCNN_PARAM = "model.ncnn.param"


def kind_of(path: Path) -> Kind:
    """The format of `path`; "checkpoint" if unknown, because that loader's error lists what it expects."""
    if path.is_dir():
        if (path / "Manifest.json").is_file() and path.suffix == ".mlpackage":
            return "coreml"
        return "ncnn" if (path / NCNN_PARAM).is_file() else "checkpoint"
    content = _kind_of_content(path) if path.is_file() else None
    return content or PROMISES.get(path.suffix.lower(), "checkpoint")


def _kind_of_content(path: Path) -> Kind | None:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return None
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError):
            return None
        if any(name.endswith("/models/model.json") for name in names):
            return "torch-export"
        if any("/code/" in name for name in names):
            return "torchscript"
        return None
    if head.lstrip().startswith((b"<?xml", b"<net")) and b"<net" in head:
        return "openvino"
    if head[4:8] in FLATBUFFERS:
        return FLATBUFFERS[head[4:8]]
    # Protobuf: field 1, ir_version, a small number; then a length-delimited field.
    if len(head) > 2 and head[0] == 0x08 and head[1] < 32 and head[2] & 7 == 2:
        return "onnx"
    return None
