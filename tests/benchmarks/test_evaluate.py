"""The benchmark of evaluation, on four small images."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import pytest
from untrained import save_untrained

from lookonce.exporters.base import textured_canvases


def test_the_table_names_the_parts_and_the_ratio_of_the_whole(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    from lookonce.runtimes.registry import load_runtime

    save_untrained(tmp_path / "weights", ("a", "b"), (1, 2))
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, image in zip(paths, textured_canvases(4, (60, 80), seed=0), strict=True):
        cv2.imwrite(str(path), image)
    evaluate = script("evaluate")
    table = evaluate.measure(load_runtime(tmp_path / "weights", device="cpu"), paths, batch_size=2, rounds=1)
    assert table["images"] == 4
    assert table["batch_size"] == 1  # on a CPU
    assert table["detections"] > 4
    milliseconds = table["ms_per_image"]
    assert set(milliseconds) == {"network", "decode and NMS", "whole", "metric"}
    assert min(milliseconds.values()) > 0
    assert table["network_alone_to_whole"] == pytest.approx(milliseconds["network"] / milliseconds["whole"])
    assert len(evaluate.as_text(table)) == 6
