"""An exported network that detects something in every texture, and images of every awkward kind."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import save_untrained

from lookonce.workflows.export import export


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.onnx beside its checkpoint `net`."""
    folder = tmp_path_factory.mktemp("model")
    save_untrained(folder / "net", ("cup", "fork & <b>"), (1, 2))
    (file,) = export(folder / "net", output=folder / "net.onnx").files
    return file.path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Odd sizes, both ways round, the network's size, twice that, one row; EXIF orientation, alpha, a palette, JPEG."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(3)
    paths = []
    for name, size in (
        *(("wide.png", (131, 77)), ("high.png", (53, 200)), ("same.png", (64, 64)), ("twice.png", (128, 128))),
        *(("row.png", (90, 1)), ("turned.jpg", (120, 70)), ("alpha.png", (65, 80)), ("palette.png", (66, 40))),
        ("photo.jpg", (201, 163)),
    ):
        coarse = generator.integers(0, 256, (8, 8, 4 if name == "alpha.png" else 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        if name == "palette.png":
            image = image.quantize(32)
        exif = Image.Exif()
        if name == "turned.jpg":
            exif[0x0112] = 6
        image.save(folder / name, exif=exif, **({"quality": 95} if name.endswith(".jpg") else {}))
        paths.append(folder / name)
    return paths
