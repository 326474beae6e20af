"""Files are made by look-alikes of Ultralytics' classes: names and attributes are theirs, the code is ours."""

import dataclasses
import datetime as dt
import json
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from raised import raises
from torch import nn

from lookonce.errors import WeightsError
from lookonce.settings.record import DEFAULT_ANCHORS
from lookonce.weights import pickled, unpickler
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import load_state, read_foreign
from lookonce.weights.ultralytics import read_ultralytics

CHANNELS = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
NUM_CLASSES = 2


class Conv(nn.Module):
    def __init__(self, before: int, after: int, size: int, act: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=2e-3)
        self.act = act

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.act(self.bn(self.conv(x)))


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d = 1


class Detect(nn.Module):
    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.nc, self.nl, self.na = NUM_CLASSES, 2, 3
        self.stride = torch.tensor([16.0, 32.0])
        anchors = torch.tensor(DEFAULT_ANCHORS).view(2, 3, 2) / self.stride.view(2, 1, 1)
        self.register_buffer("anchors", anchors)
        self.m = nn.ModuleList(nn.Conv2d(count, 3 * (5 + NUM_CLASSES), 1) for count in channels)


class DetectionModel(nn.Module):
    """yolov3-tiny.yaml, with the forward pass that the file's layers mean."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        before = (3, *CHANNELS[:6], CHANNELS[6], CHANNELS[7], CHANNELS[7], CHANNELS[9] + CHANNELS[4])
        convs = [
            Conv(b, a, 1 if index in (7, 9) else 3, act)
            for index, (b, a) in enumerate(zip(before, CHANNELS, strict=True))
        ]
        layers: list[nn.Module] = []
        for conv in convs[:5]:
            layers += [conv, nn.MaxPool2d(2, 2, 0)]
        layers += [convs[5], nn.ZeroPad2d([0, 1, 0, 1]), nn.MaxPool2d(2, 1, 0), *convs[6:10]]
        layers += [nn.Upsample(None, 2, "nearest"), Concat(), convs[10], Detect((CHANNELS[10], CHANNELS[8]))]
        self.model = nn.Sequential(*layers)
        self.names = {0: "cat", 1: "dog"}
        self.yaml = {"nc": 2, "depth_multiple": 1.0, "anchors": [[10, 14], [81, 82]]}

    def forward(self, x):  # type: ignore[no-untyped-def]
        layers = self.model
        for layer in layers[:9]:
            x = layer(x)
        stride_16 = x
        for layer in layers[9:15]:
            x = layer(x)
        up = F.interpolate(layers[16](x), scale_factor=2)
        heads = layers[20].m
        return heads[1](layers[15](x)), heads[0](layers[19](torch.cat([up, stride_16], 1)))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """While files are written, the classes are importable under Ultralytics' names."""
    for name, classes in {"models.yolo": (DetectionModel, Detect), "models.common": (Conv, Concat)}.items():
        module = types.ModuleType(name)
        for one in classes:
            setattr(module, one.__name__, one)
            monkeypatch.setattr(one, "__module__", name)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "models", types.ModuleType("models"))


def make_network(act: nn.Module | None = None) -> DetectionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DetectionModel(nn.SiLU() if act is None else act)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
                module.num_batches_tracked.fill_(5)
    return network.eval()


def save(path: Path, network: nn.Module, *, zipped: bool = True, **extra: Any) -> Path:
    content = {"epoch": -1, "best_fitness": None, "model": network, "ema": None, "optimizer": None, **extra}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.usefixtures("modules")
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # of PyTorch, as it writes the old form
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("act", [nn.SiLU(), nn.LeakyReLU(0.1)], ids=["silu", "leaky"])
def test_the_network_answers_as_the_pickled_one(tmp_path: Path, act: nn.Module, zipped: bool) -> None:
    network = make_network(act)
    read = read_ultralytics(save(tmp_path / "x.pt", network, zipped=zipped), ReadOptions(image_size=64))
    assert read.record.class_names == ("cat", "dog")
    assert (read.record.anchors, read.record.channels) == (DEFAULT_ANCHORS, CHANNELS)
    dialect = read.record.dialect
    assert (dialect.name, dialect.size_rule, dialect.pool_edge) == ("ultralytics", "square", "zero")
    assert (dialect.activation, dialect.batchnorm_eps) == ("silu" if isinstance(act, nn.SiLU) else "leaky", 2e-3)
    assert read.state["neck10.norm.num_batches_tracked"] == 5
    model = model_from_record(read.record).eval()
    load_state(model, read.state, "x.pt")
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for ours, theirs in zip(model(images), network(images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("modules")
def test_the_running_average_in_half_precision_is_taken_first(tmp_path: Path) -> None:
    average, last = make_network().half(), make_network()
    extra = {"date": dt.datetime(2024, 1, 1), "opt": {"weights": Path("a.pt")}}
    path = save(tmp_path / "x.pt", last, **{"ema": average, **extra})
    read = read_ultralytics(path, ReadOptions(image_size=64))
    assert "EMA weights" in read.notes[0]
    expected = average.model[0].conv.weight.float()
    assert torch.equal(read.state["backbone.conv0.conv.weight"], expected)


@pytest.mark.usefixtures("modules")
def test_another_network_names_the_first_layer_that_differs(tmp_path: Path) -> None:
    network = make_network()
    network.model[11] = nn.Identity()
    with raises(WeightsError, "layer 11 ", "Identity", "ZeroPad2d", path="a.pt"):
        read_ultralytics(save(tmp_path / "a.pt", network), ReadOptions())
    network = make_network()
    network.model[12] = nn.MaxPool2d(3, 1, 0)
    with raises(WeightsError, "layer 12 ", "kernel_size=3", path="b.pt"):
        read_ultralytics(save(tmp_path / "b.pt", network), ReadOptions())
    network = make_network(nn.LeakyReLU(0.2))
    with raises(WeightsError, "LeakyReLU(0.2)", "LeakyReLU(0.1)", path="c.pt"):
        read_ultralytics(save(tmp_path / "c.pt", network), ReadOptions())


def edit_attribute(read: pickled.Pickled, module: str, name: str, value: Any) -> None:
    attributes = {**read.modules[module].attributes, name: value}
    read.modules[module] = dataclasses.replace(read.modules[module], attributes=attributes)


EDITS: dict[str, Callable[[pickled.Pickled], None]] = {
    "a list as epsilon": lambda read: edit_attribute(read, "model.0.bn", "eps", [1e-3]),
    "no epsilon": lambda read: edit_attribute(read, "model.0.bn", "eps", None),
    "no anchors": lambda read: read.arrays.update({"model.20.anchors": np.zeros((2, 0, 2), np.float32)}),
    "anchors that are no numbers": lambda read: read.arrays["model.20.anchors"].fill(np.nan),
    "anchors of no size": lambda read: read.arrays["model.20.anchors"].fill(0),
}


@pytest.fixture
def unpickled(tmp_path: Path, modules: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, pickled.Pickled]:
    """A file, and what is read of it, in this process."""
    path = save(tmp_path / "x.pt", make_network())
    read = pickled.read_in_this_process(path)
    read.arrays.update({name: array.copy() for name, array in read.arrays.items()})
    for name, module in read.modules.items():  # as the other process hands them over
        read.modules[name] = dataclasses.replace(module, attributes=json.loads(json.dumps(module.attributes)))
    monkeypatch.setattr("lookonce.weights.ultralytics.read_pickled", lambda _: read)
    return path, read


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_values_that_no_network_has_are_an_error_that_names_the_file(
    unpickled: tuple[Path, pickled.Pickled], edit: Callable[[pickled.Pickled], None]
) -> None:
    path, read = unpickled
    edit(read)
    with raises(WeightsError, path="x.pt"):
        read_foreign([path], ReadOptions(image_size=64))


def test_names_that_are_no_list_of_the_classes_are_not_taken(unpickled: tuple[Path, pickled.Pickled]) -> None:
    path, read = unpickled
    read.arrays["model.0.bn.num_batches_tracked"] = np.zeros(0, np.int64)
    for names in (3, None, "ab", [1, 2], [["a"], ["b"]], ["cat"]):
        edit_attribute(read, "", "names", names)
        found = read_foreign([path], ReadOptions(image_size=64))
        assert not found.record.names_known
        assert found.state["backbone.conv0.norm.num_batches_tracked"] == 0


@pytest.mark.usefixtures("modules")
def test_an_array_left_over_is_named(tmp_path: Path) -> None:
    network = make_network()
    network.model[3].register_buffer("colour", torch.zeros(2))
    with raises(WeightsError, "(1)", "'model.3.colour'", path="x.pt"):
        read_ultralytics(save(tmp_path / "x.pt", network), ReadOptions())


@pytest.mark.usefixtures("modules")
def test_a_state_dict_alone_is_refused_with_the_reason(tmp_path: Path) -> None:
    torch.save(make_network().state_dict(), tmp_path / "x.pt")
    with raises(WeightsError, "arrays", path="x.pt"):
        read_ultralytics(tmp_path / "x.pt", ReadOptions())


@pytest.mark.usefixtures("modules")
def test_the_anchor_free_network_of_the_package_is_named(tmp_path: Path) -> None:
    network = make_network()
    network.model[-1].reg_max = 16
    del network.model[-1].anchors
    with raises(WeightsError, "anchor-free", "ultralytics/yolov3", path="x.pt"):
        read_ultralytics(save(tmp_path / "x.pt", network), ReadOptions())


def test_torchscript_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl"):
            archive.writestr(f"x/{name}", b"")
    with raises(WeightsError, "TorchScript", path="x.pt"):
        read_ultralytics(tmp_path / "x.pt", ReadOptions())


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize(("call", "name"), [(os.system, "system"), (eval, "eval"), (getattr, "getattr")])
@pytest.mark.usefixtures("modules")
def test_a_file_that_runs_code_is_refused_by_name_and_its_code_does_not_run(
    tmp_path: Path, call: Callable[..., object], name: str
) -> None:
    trace = tmp_path / "harmed"
    argument = f"touch {trace}" if call is os.system else f"__import__('pathlib').Path({str(trace)!r}).touch()"
    arguments = (str, "upper") if call is getattr else (argument,)
    path = save(tmp_path / "x.pt", make_network(), date=Harm(call, *arguments))
    with raises(WeightsError, "refused", f".{name}'", path=path):
        read_ultralytics(path, ReadOptions())
    assert not trace.exists()
    if call is not getattr:  # the file does do harm to whoever trusts it
        torch.load(path, weights_only=False)
        assert trace.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.set.__class__", "torch.load", "torch.hub.load", "modelsx.yolo.Model", "numpy.load"]
)
def test_names_that_only_resemble_admitted_ones_are_refused(name: str) -> None:
    module, _, function = name.partition(".")
    with raises(unpickler.RefusedError, name):
        unpickler.admitted(module, function)


def test_classes_of_networks_are_stand_ins_that_nothing_is_imported_for() -> None:
    made = unpickler.admitted("models.yolo", "Model")(1, "two", key="value")
    made.__setstate__({"names": ["cat"]})
    assert made.state == {"names": ["cat"]}
    assert "models" not in sys.modules


def test_tensors_that_reach_outside_their_storage_are_refused() -> None:
    storage = unpickler.Storage("0", "<f4", 6)
    rebuild = unpickler.FUNCTIONS["torch._utils._rebuild_tensor_v2"]
    assert rebuild(storage, 0, (2, 3), (3, 1)).shape == (2, 3)
    for arguments in ((1, (2, 3), (3, 1)), (0, (2, 3), (4, 1)), (0, (10_000_000,), (0,)), (-1, (1,), (1,))):
        with pytest.raises(unpickler.RefusedError):
            rebuild(storage, *arguments)


@pytest.mark.usefixtures("modules")
def test_a_pickle_that_eats_memory_is_stopped_by_the_limits(tmp_path: Path) -> None:
    """`LONG_BINPUT` with a large index makes Python's unpickler take 32 GB for its memo."""
    path = save(tmp_path / "x.pt", make_network())
    eats = b"\x80\x02]r\xff\xff\xff\x7f."
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("x/data.pkl", eats)
    with raises(WeightsError, path="bomb.pt") as caught:
        read_ultralytics(tmp_path / "bomb.pt", ReadOptions())
    assert any(told in str(caught.value) for told in ("memory", "limits"))
    assert path.exists()


def test_files_that_are_no_pt_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with raises(WeightsError, "data.pkl", path="x.zip"):
        read_ultralytics(tmp_path / "x.zip", ReadOptions())
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2]))
    with raises(WeightsError, path="x.pkl"):
        read_ultralytics(tmp_path / "x.pkl", ReadOptions())
