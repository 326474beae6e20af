"""A stand-in for the published weights `coco`: a network of their shape that was not trained, on this machine."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.foreign import COCO_NAMES
from lookonce.weights.published import PUBLISHED, Content

MIRROR = Path("mirror.weights")  # the only source, in the test's folder


@cache  # once a process: it is the whole network, and its tests are a dozen
def weights_file() -> tuple[bytes, Content]:
    # Here, so that the process that only hands tests out imports no PyTorch before it starts the others.
    import torch

    from lookonce.model.yolov3_tiny import initialise
    from lookonce.weights.convolutions import model_from_record
    from lookonce.weights.darknet import to_darknet

    record = ModelRecord(dialect=DIALECTS["darknet"], class_names=COCO_NAMES, category_ids=tuple(range(1, 81)))
    model = model_from_record(record)
    initialise(model, torch.Generator().manual_seed(0))
    content = to_darknet(record, model.state_dict(), "x")[".weights"]
    return content, Content(sha256=hashlib.sha256(content).hexdigest(), num_bytes=len(content))


@pytest.fixture
def published_coco(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """The content of the .weights file that takes coco's place in the table; the test runs in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOKONCE_WEIGHTS", raising=False)
    monkeypatch.delenv("LOOKONCE_OFFLINE", raising=False)
    content, wanted = weights_file()
    MIRROR.write_bytes(content)
    fake = replace(PUBLISHED["coco"], content=wanted, sources=(MIRROR.absolute().as_uri(),))
    monkeypatch.setitem(PUBLISHED, "coco", fake)
    return content
