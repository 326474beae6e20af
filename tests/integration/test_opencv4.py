"""Darknet's files as OpenCV 4 reads them, in its own environment (`./run opencv4 -c 1` makes it)."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.weights.convolutions import model_from_record
from lookonce.weights.darknet import read_darknet, to_darknet
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import load_state

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-opencv4" / "bin" / "python"
# The layers' names in OpenCV hold their numbers; `thresh` because its own default drops scores under 0.2.
READ = """
import sys, cv2, numpy as np
cfg, weights, images, heads, *layers = sys.argv[1:]
network = cv2.dnn.readNetFromDarknet(cfg, weights)
network.setInput(np.load(images))
np.savez(heads, *network.forward(layers))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no OpenCV 4 here: `./run opencv4 -c 1` makes its environment"),
]


def test_raw_heads_of_a_real_network_are_opencvs(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """60 classes, slim, logits up to 33; measured 8e-5 and 1.2e-4."""
    folder = shared("data/aix2022")
    cfg, weights = folder / "yolov3-tiny-aix2022.cfg", folder / "yolov3-tiny-aix2022.weights"
    read = read_darknet(cfg, weights, ReadOptions())
    images = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    (tmp_path / "t.cfg").write_text(cfg.read_text().replace("[yolo]", "[yolo]\nthresh=0.001"))
    assert difference(read, tmp_path, weights, images, ["conv_13", "conv_20"]) < 1e-3


@pytest.mark.parametrize("three_heads", [False, True])
def test_what_is_written_answers_the_same_in_opencv(
    tmp_path: Path, make_foreign: Callable[..., object], three_heads: bool
) -> None:
    read = make_foreign(three_heads=three_heads)
    for suffix, content in to_darknet(read.record, dict(read.state), "x").items():  # type: ignore[attr-defined]
        (tmp_path / f"t{suffix}").write_bytes(content)
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    layers = ["conv_15", "conv_22", *(["conv_29"] if three_heads else [])]
    assert difference(read, tmp_path, tmp_path / "t.weights", images, layers) < 1e-3


def difference(read, folder: Path, weights: Path, images: np.ndarray, layers: list[str]) -> float:  # type: ignore[no-untyped-def]
    """The largest of any logit."""
    np.save(folder / "images.npy", images)
    command = [PYTHON, "-c", READ, folder / "t.cfg", weights, folder / "images.npy", folder / "heads.npz", *layers]
    subprocess.run(command, check=True, timeout=120)
    heads = np.load(folder / "heads.npz")
    model = model_from_record(read.record).eval()
    load_state(model, read.state, "x")
    with torch.inference_mode():
        raws = model(torch.from_numpy(images))
    assert min(float(raw.std()) for raw in raws) > 0.1
    found = [float(np.abs(raw.numpy() - heads[name]).max()) for raw, name in zip(raws, heads.files, strict=True)]
    print(f"largest difference of the raw heads: {', '.join(f'{value:.1e}' for value in found)}")
    return max(found)


@pytest.fixture
def make_foreign() -> Callable[..., object]:
    from lookonce.settings.dialects import DIALECTS
    from lookonce.settings.record import ModelRecord
    from lookonce.weights.foreign import ForeignWeights

    def make(*, three_heads: bool) -> ForeignWeights:
        channels = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
        scales = {32: 1.0, 16: 1.05, **({8: 1.1} if three_heads else {})}
        record = ModelRecord(
            dialect=DIALECTS["darknet"].model_copy(update={"center_scales": scales}),
            channels=(*channels, 6, 4) if three_heads else channels,
            class_names=("a", "b"),
            category_ids=(1, 2),
            strides=tuple(scales),
            anchors=tuple((10.0 * n, 5.0 * n) for n in range(1, 3 * len(scales) + 1)),
            masks=tuple(tuple(range(3 * n, 3 * n + 3)) for n in reversed(range(len(scales)))),
            image_size=(64, 64),
        )
        generator = torch.Generator().manual_seed(0)
        state = model_from_record(record).state_dict()
        for name, array in state.items():
            if array.is_floating_point():
                array.uniform_(0.3 if "norm" in name else -0.5, 1.0 if "norm" in name else 0.5, generator=generator)
        return ForeignWeights(state=state, record=record)

    return make
