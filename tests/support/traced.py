"""PyTorch takes seconds to trace a network for ONNX, so tests trace the same network once."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lookonce.storage import write_file

OF_GRAPH = {"dialect", "anchors", "masks", "image_size", "preprocessing"}  # what a record tells the exporter


@pytest.fixture(scope="session")
def traced_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From here on, an ONNX export of the same weights with the same plan takes the graph that the first one left, in
    whichever process of the tests it ran. What is added to that graph or made of it is made anew."""
    from onnx import ModelProto

    from lookonce.exporters import onnx as exporter

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "traced"
    folder.mkdir(exist_ok=True)
    trace = exporter._trace

    def trace_once(network: Any, record: Any, plan: Any) -> ModelProto:
        graph = replace(plan, precision="fp32", calibration=None, opset=0)
        digest = hashlib.sha256(f"{record.model_dump_json(include=OF_GRAPH)} {graph} {network}".encode())
        for value in network.state_dict().values():
            digest.update(value.numpy().tobytes())
        path = folder / digest.hexdigest()
        if not path.exists():
            write_file(path, trace(network, record, plan).SerializeToString())
        return ModelProto.FromString(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "_trace", trace_once)
        yield
