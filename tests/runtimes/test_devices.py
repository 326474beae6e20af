"""--device with an exported file chooses the runtime's own device, or is an error; it is never ignored."""

from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from raised import raises

from lookonce.errors import SettingsError
from lookonce.runtimes import registry
from lookonce.runtimes.onnx import CPU, provider_of
from lookonce.runtimes.openvino import openvino_device


@pytest.mark.parametrize(
    ("device", "provider", "options"),
    [
        ("auto", CPU, {}),
        ("cpu", CPU, {}),
        ("cuda", "CUDAExecutionProvider", {}),
        ("cuda:1", "CUDAExecutionProvider", {"device_id": "1"}),
        ("openvino:GPU", "OpenVINOExecutionProvider", {"device_type": "GPU"}),
        ("TensorRT", "TensorrtExecutionProvider", {}),
    ],
)
def test_a_device_is_an_execution_provider(
    device: str, provider: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [CPU, "CUDAExecutionProvider", "OpenVINOExecutionProvider", "TensorrtExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert provider_of(device) == (provider, options)


@pytest.mark.parametrize(
    ("device", "way"),
    [("cuda", "onnxruntime-gpu"), ("npu:0", "onnxruntime-cann"), ("xpu", "cpu"), ("openvino", "--runtime openvino")],
)
def test_a_device_that_onnx_runtime_has_not_is_an_error(device: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with raises(SettingsError, way, setting="device", value=device):
        provider_of(device)


@pytest.mark.parametrize(("device", "name"), [("auto", "CPU"), ("gpu", "GPU"), ("gpu:1", "GPU.1"), ("CPU", "CPU")])
def test_openvino_has_its_own_names(device: str, name: str) -> None:
    assert openvino_device(SimpleNamespace(available_devices=["CPU", "GPU.0", "GPU.1"]), device) == name


def test_a_device_that_openvino_does_not_find_is_an_error() -> None:
    with raises(SettingsError, "CPU", setting="device", value="npu"):
        openvino_device(SimpleNamespace(available_devices=["CPU"]), "npu")


def test_a_runtime_for_the_cpu_alone_refuses_another_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "choose_runtime", lambda *_: "opencv")
    (tmp_path / "a.onnx").write_bytes(b"an exported file")
    with raises(SettingsError, "opencv", setting="device", value="cuda"):
        registry.load_runtime(tmp_path / "a.onnx", device="cuda")
