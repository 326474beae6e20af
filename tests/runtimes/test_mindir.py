from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import LookonceError, WeightsError
from lookonce.runtimes import mindir
from lookonce.runtimes.kinds import kind_of


def test_words_appended_to_a_protocol_buffer_are_read_back(tmp_path: Path) -> None:
    """Before them: field 1 with the letters "ab", field 13 with the number 300, both stepped over."""
    path = tmp_path / "x.mindir"
    path.write_bytes(b"\x0a\x02ab\x68\xac\x02" + mindir.user_info_bytes({"a": "x" * 300, "modèle": "模"}))
    assert mindir.read_user_info(path) == {"a": "x" * 300, "modèle": "模"}
    assert kind_of(path) == "mindir"


def test_protobufs_own_writer_makes_the_same_bytes() -> None:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", syntax="proto2")
    entry = file.message_type.add(name="Entry")
    model = file.message_type.add(name="Model")
    for number, name in ((1, "key"), (2, "value")):
        entry.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    model.field.add(
        name="user_info", number=14, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=".Entry"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Model"))()
    message.user_info.add(key="record", value="y" * 1000)
    assert message.SerializeToString() == mindir.user_info_bytes({"record": "y" * 1000})


@pytest.mark.parametrize("content", [b"\x0a\xff", b"\x0a\x05ab", b"\xff" * 12, b"\x0b\x00", b"\x72\x02\x18\x01"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mindir"
    path.write_bytes(content)
    with raises(WeightsError, path=path):
        mindir.read_user_info(path)


def test_a_file_without_our_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mindir"
    path.write_bytes(b"\x0a\x02ab")
    with raises(WeightsError, "record", path=path):
        mindir.MindSporeRuntime(path)


def test_where_mindspore_is_missing_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(mindir.PYTHON_VARIABLE, str(tmp_path / "python"))
    with raises(LookonceError, str(tmp_path / "python"), "./run mindspore -c 1"):
        mindir.run_program("run")
    (tmp_path / "python").write_text("#!/bin/sh\necho it went wrong >&2\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    with raises(LookonceError, "\nit went wrong"):
        mindir.run_program("run")
