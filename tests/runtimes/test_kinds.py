"""Files are known by what they hold, whatever they are called."""

import io
import zipfile

import pytest

from lookonce.runtimes.kinds import NCNN_PARAM, kind_of


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x08\x0a\x12\x07pytorch", "onnx"),
        (b'<?xml version="1.0"?>\n<net name="lookonce" version="11">', "openvino"),
        (archive("archive/data.pkl", "archive/code/__torch__.py"), "torchscript"),
        (archive("archive/archive_format", "archive/models/model.json"), "torch-export"),
    ],
)
def test_the_content_decides_and_not_the_name(tmp_path, content, kind):
    for name in ("file.onnx", "file.xml", "file"):
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == kind


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"hello", archive("a.txt")])
def test_what_looks_like_nothing_is_what_its_name_promises(tmp_path, content):
    (tmp_path / "file.onnx").write_bytes(content)
    assert kind_of(tmp_path / "file.onnx") == "onnx"
    (tmp_path / "file").write_bytes(content)
    assert kind_of(tmp_path / "file") == "checkpoint"


def test_folders_are_checkpoints_or_ncnn(tmp_path):
    assert kind_of(tmp_path) == "checkpoint"
    (tmp_path / NCNN_PARAM).touch()
    assert kind_of(tmp_path) == "ncnn"
    assert kind_of(tmp_path / "gone") == "checkpoint"
