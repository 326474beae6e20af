import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from raised import raises

from lookonce.errors import WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import load_state
from lookonce.weights.mindspore import read_mindspore, to_mindspore

CHANNELS = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
State = dict[str, torch.Tensor]


def described(**changes: object) -> ModelRecord:
    values = {
        "dialect": DIALECTS["mindspore"],
        "channels": CHANNELS,
        "class_names": ("a", "b"),
        "category_ids": (1, 2),
        "image_size": (64, 64),
    }
    return ModelRecord.model_validate({**values, **changes})


@cache
def checkpoint_message() -> type[Any]:
    """Google's reader and writer of a .ckpt, by MindSpore's checkpoint.proto: the independent reference."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="lookonce_checkpoint.proto", syntax="proto2")

    def add(name: str, *fields: tuple[str, int, int, int, str]) -> None:
        message = file.message_type.add(name=name)
        for field_name, number, label, kind, type_name in fields:
            message.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name or None)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    add("Checkpoint", ("value", 1, many, field.TYPE_MESSAGE, ".Value"))
    add("Value", ("tag", 1, one, field.TYPE_STRING, ""), ("tensor", 2, one, field.TYPE_MESSAGE, ".Tensor"))
    add(
        "Tensor",
        ("dims", 1, many, field.TYPE_INT64, ""),
        ("tensor_type", 2, one, field.TYPE_STRING, ""),
        ("tensor_content", 3, one, field.TYPE_BYTES, ""),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message_class: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("Checkpoint"))
    return message_class


def write(path: Path, arrays: dict[str, np.ndarray], kind: str = "Float32") -> Path:
    message = checkpoint_message()()
    for name, array in arrays.items():
        tensor = message.value.add(tag=name).tensor
        tensor.dims.extend(array.shape)
        tensor.tensor_type, tensor.tensor_content = kind, array.tobytes()
    path.write_bytes(message.SerializeToString())
    return path


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    message = checkpoint_message().FromString(path.read_bytes())
    return {
        value.tag: np.frombuffer(value.tensor.tensor_content, "<f4").reshape(tuple(value.tensor.dims))
        for value in message.value
    }


@pytest.fixture
def written(tmp_path: Path, make_state: Callable[..., State]) -> Path:
    path = tmp_path / "x.ckpt"
    record = described()
    path.write_bytes(to_mindspore(record, make_state(record), "x")[".ckpt"])
    return path


def test_what_is_written_reads_back_bit_for_bit(written: Path, make_state: Callable[..., State]) -> None:
    read = read_mindspore(written, ReadOptions(image_size=64))
    expected = make_state(described())
    assert read.state.keys() == expected.keys()
    assert all(torch.equal(read.state[name], expected[name]) for name in expected)
    assert (read.record.channels, read.record.num_classes) == (CHANNELS, 2)
    assert read.record.preprocessing.resize == "stretch"
    assert read.record.preprocessing.mean == (0.485, 0.456, 0.406)
    assert read.record.dialect == DIALECTS["mindspore"]


def test_the_model_zoos_own_file_is_read_and_written_back_byte_for_byte(shared: Callable[[str], Path]) -> None:
    path = shared("golden/weights_fixed.ckpt")
    read = read_mindspore(path, ReadOptions(image_size=416))
    assert read.notes[0] == "MindSpore .ckpt, 8,858,734 parameters"
    assert to_mindspore(read.record, read.state, "x")[".ckpt"] == path.read_bytes()


def test_its_arrays_are_those_that_a_reader_of_bytes_alone_finds(shared: Callable[[str], Path]) -> None:
    path = shared("golden/weights_fixed.ckpt")
    spec = importlib.util.spec_from_file_location("read_ckpt", shared("golden/read_ckpt.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = module.read(str(path))
    state = read_mindspore(path, ReadOptions()).state
    for ours, name in (
        ("backbone.conv3.norm.running_var", "feature_map.backbone.conv3.1.moving_variance"),
        ("lateral9.conv.weight", "feature_map.backbone.conv9.0.weight"),
        ("head16.bias", "feature_map.head2.bias"),
    ):
        np.testing.assert_array_equal(state[ours].numpy(), theirs[name])


def test_its_network_answers_as_the_model_zoos(shared: Callable[[str], Path]) -> None:
    values = np.load(shared("golden/forward_416.npz"))
    read = read_mindspore(shared("golden/weights_fixed.ckpt"), ReadOptions(image_size=416))
    model = model_from_record(read.record).eval()
    load_state(model, read.state, "golden")
    images = np.random.RandomState(int(values["x_seed"])).randn(2, 3, 416, 416).astype(np.float32)
    with torch.inference_mode():
        raws = model(torch.from_numpy(images))
    for raw, name in zip(raws, ("raw_big", "raw_small"), strict=True):
        np.testing.assert_allclose(raw, values[name], atol=2e-4)


def test_files_of_the_training_lose_their_prefix_and_the_optimizers_arrays(written: Path, tmp_path: Path) -> None:
    arrays = {f"yolo_network.{name}": array for name, array in arrays_of(written).items()}
    one = np.zeros(1, np.float32)
    training = {"moments." + name: array for name, array in arrays.items()} | {"learning_rate": one, "global_step": one}
    read = read_mindspore(write(tmp_path / "t.ckpt", {**arrays, **training}), ReadOptions(image_size=64))
    plain = read_mindspore(written, ReadOptions(image_size=64))
    assert all(torch.equal(read.state[name], plain.state[name]) for name in plain.state)
    assert f"{len(training)} arrays" in " ".join(read.notes)


def test_arrays_in_pieces_are_joined(written: Path, tmp_path: Path) -> None:
    whole = checkpoint_message().FromString(written.read_bytes())
    pieces = checkpoint_message()()
    for value in whole.value:
        content = value.tensor.tensor_content
        for part in (content[:8], content[8:]):
            piece = pieces.value.add(tag=value.tag)
            piece.tensor.CopyFrom(value.tensor)
            piece.tensor.tensor_content = part
    (tmp_path / "p.ckpt").write_bytes(pieces.SerializeToString())
    read = read_mindspore(tmp_path / "p.ckpt", ReadOptions(image_size=64))
    plain = read_mindspore(written, ReadOptions(image_size=64))
    assert all(torch.equal(read.state[name], plain.state[name]) for name in plain.state)


def test_an_array_too_many_or_too_few_is_named(written: Path, tmp_path: Path) -> None:
    arrays = arrays_of(written)
    extra = write(tmp_path / "extra.ckpt", {**arrays, "feature_map.head3.bias": np.zeros(2, np.float32)})
    with raises(WeightsError, "(1)", "'feature_map.head3.bias'", path=extra):
        read_mindspore(extra, ReadOptions())
    del arrays["feature_map.backbone.conv8.1.gamma"]
    with raises(WeightsError, path="few.ckpt", value="feature_map.backbone.conv8.1.gamma"):
        read_mindspore(write(tmp_path / "few.ckpt", arrays), ReadOptions())


def test_damaged_files_are_told(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    content = written.read_bytes()
    path.write_bytes(content[:-5])
    with raises(WeightsError, ".ckpt", path=path):
        read_mindspore(path, ReadOptions())
    arrays = {"feature_map.head1.bias": np.zeros(2, np.float32)}
    with raises(WeightsError, "BFloat17", "Float32", path=path, value="feature_map.head1.bias"):
        read_mindspore(write(path, arrays, kind="BFloat17"), ReadOptions())
    with raises(WeightsError, "(2,)", "Float64", "8 bytes", value="feature_map.head1.bias"):
        read_mindspore(write(path, arrays, kind="Float64"), ReadOptions())
    with raises(WeightsError, path=path, value="feature_map.backbone.conv0.0.weight"):
        read_mindspore(write(path, arrays), ReadOptions())
    path.write_bytes(b"")
    with raises(WeightsError, "no arrays", path=path):
        read_mindspore(path, ReadOptions())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dialect": DIALECTS["darknet"]}, "{32: 1.0, 16: 1.0}"),
        ({"channels": (*CHANNELS[:7], 0, 0, *CHANNELS[9:])}, "channels ("),
        ({"masks": ((4, 5), (0, 1, 2, 3))}, "(2, 4)"),
    ],
)
def test_what_is_not_the_model_zoos_network_is_refused(
    make_state: Callable[..., State], changes: dict[str, object], message: str
) -> None:
    record = described(**changes)
    with raises(WeightsError, message, "model zoo", path="x"):
        to_mindspore(record, make_state(record), "x")
