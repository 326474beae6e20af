"""Files of the model zoo's network in the real MindSpore, in its own environment (`./run mindspore -c 1` makes it)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.runtimes.exported import INTERFACE_KEY
from lookonce.runtimes.mindir import read_user_info, run_program
from lookonce.workflows.convert import convert
from lookonce.workflows.export import export

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".venv-mindspore").exists(),
        reason="no MindSpore here: `./run mindspore -c 1` makes its environment",
    ),
]


def test_a_ckpt_written_here_answers_as_the_model_zoo_in_mindspore(
    shared: Callable[[str], Path], tmp_path: Path
) -> None:
    """Read, written again, loaded by MindSpore with no array missing or left over; measured 2.8e-5."""
    values = np.load(shared("golden/forward_416.npz"))
    convert(shared("golden/weights_fixed.ckpt"), output=tmp_path / "ours", image_size=416)
    convert(tmp_path / "ours", output=tmp_path / "again.ckpt", to="mindspore")
    mindir, images, heads = tmp_path / "again.mindir", tmp_path / "images.npy", tmp_path / "heads.npz"
    run_program("export", tmp_path / "again.ckpt", mindir, "--batch", 2, "--height", 416, "--width", 416)
    np.save(images, np.random.RandomState(int(values["x_seed"])).randn(2, 3, 416, 416).astype(np.float32))
    run_program("run", mindir, images, heads, "--batch", 2)
    got = np.load(heads)
    for ours, theirs in (("raw_stride32", "raw_big"), ("raw_stride16", "raw_small")):
        np.testing.assert_allclose(got[ours], values[theirs], atol=1e-4)


@pytest.mark.parametrize(("outputs", "given"), [(None, 4), ("decoded", 4), ("raw", 2)])
def test_a_mindir_answers_as_its_weights(
    shared: Callable[[str], Path], tmp_path: Path, outputs: str | None, given: int
) -> None:
    """Boxes and scores before the raw heads, as with the model zoo's keep_detect, or those alone."""
    convert(shared("golden/weights_fixed.ckpt"), output=tmp_path / "ours", image_size=64)
    images = str(shared("data/media/pictures/astronaut.png"))
    place = {"output": tmp_path / "x.mindir", "images": images}
    (done,) = export(tmp_path / "ours", to="mindir", outputs=outputs, **place).files  # type: ignore[arg-type]
    raw = next(row for row in done.parity.differences if row.quantity == "raw logits")
    assert raw.largest < 1e-4
    assert done.parity.passed
    interface = json.loads(read_user_info(done.path)[INTERFACE_KEY])
    assert len(interface["outputs"]) == given
