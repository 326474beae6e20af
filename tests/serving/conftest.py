from pathlib import Path

import pytest
from colours_served import save_colours


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_colours(tmp_path_factory.mktemp("weights") / "colours.onnx")
