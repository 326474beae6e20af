"""An INT8 file answers the same on every kind of processor.

ONNX Runtime takes the quickest kernel that the processor has, and no variable or option limits it: each machine tries
its own. OpenVINO's oneDNN can be held to AVX2, which sums 8-bit products in 16 bits (it heeds ONEDNN_MAX_CPU_ISA: SSE41
makes OpenVINO 2026.4 refuse some files on an AVX2 processor). Beside both stands the exact arithmetic of the file:
float32 on its 8-bit numbers.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from lookonce.exporters.base import noise, textured_canvases
from lookonce.exporters.quantised import _quiet_root_logger
from lookonce.runtimes.exported import raw_names
from lookonce.runtimes.openvino import import_openvino

# Kernels that round a half the other way than the exact arithmetic give up to 0.02; sums that overflow 0.2 and more.
ROUNDING = 0.05
RAW_HEADS = """
import sys
import numpy as np
from lookonce.runtimes.openvino import OpenVinoRuntime
_, path, canvases, output = sys.argv
np.savez(output, *OpenVinoRuntime(path, threads=1).raw_heads(np.load(canvases)))
"""


@pytest.fixture(scope="module")
def files(make_pair):
    """file_of(format): a Pair in INT8, of raw heads, written once."""
    written = {}

    def file_of(to):
        if to == "openvino":
            pytest.importorskip("nncf", reason="lookonce[int8] is not installed")
        if to not in written:
            plan = {"outputs": "raw", "precision": "int8", "calibration": textured_canvases(4, (64, 96), seed=5)}
            written[to] = make_pair(to=to, **plan)
        return written[to]

    return file_of


def exact_onnx(path: Path, names: tuple[str, ...], canvases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return session.run(list(names), {"images": canvases})


def exact_openvino(path: Path, names: tuple[str, ...], canvases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    options = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    found = import_openvino().Core().compile_model(path, "CPU", options)({"images": canvases})
    return [found[name] for name in names]


@pytest.mark.parametrize(("to", "exact"), [("onnx", exact_onnx), ("openvino", exact_openvino)])
def test_the_processors_kernels_give_what_exact_arithmetic_gives(files, to, exact):
    pair = files(to)
    expected = exact(pair.path, raw_names(pair.record), pair.canvases)
    got = pair.exported.raw_heads(pair.canvases)
    assert noise(expected, got) < ROUNDING


def test_openvino_gives_the_same_with_vnni_and_without(files, tmp_path):
    pair = files("openvino")
    np.save(tmp_path / "canvases.npy", pair.canvases)
    found = {}
    for isa in ("DEFAULT", "AVX2"):
        output = tmp_path / f"{isa}.npz"
        command = [sys.executable, "-c", RAW_HEADS, str(pair.path), str(tmp_path / "canvases.npy"), str(output)]
        subprocess.run(command, env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa}, check=True)
        found[isa] = list(np.load(output).values())
    assert noise(found["DEFAULT"], found["AVX2"]) < ROUNDING


def test_no_two_products_overflow_16_bits(files):
    graph = onnx.load(files("onnx").path).graph
    kernels = [onnx.numpy_helper.to_array(one) for one in graph.initializer if len(one.dims) == 4]
    in_onnx = [kernel for kernel in kernels if kernel.dtype == np.int8]
    operations = import_openvino().Core().read_model(files("openvino").path).get_ops()
    constants = [one for one in operations if one.get_type_name() == "Constant"]
    in_openvino = [one.data for one in constants if len(one.data.shape) == 4 and one.data.dtype == np.int8]
    assert (len(in_onnx), len(in_openvino)) == (
        10,
        13,
    )  # ONNX Runtime's have the first convolution and the two heads in float32
    for kernel in in_onnx + in_openvino:
        assert 2 * 255 * np.abs(kernel.astype(int)).max() <= np.iinfo(np.int16).max


def test_no_handler_stays_that_would_repeat_each_line_of_the_log() -> None:
    """Python's logging.info(), as the quantiser calls it, adds one to the root logger if that has none."""
    before = logging.getLogger().handlers[:]
    with _quiet_root_logger():
        logging.getLogger().addHandler(logging.NullHandler())
    assert logging.getLogger().handlers == before
