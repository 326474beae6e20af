"""The page's letterbox and selection, run by Node.js, against Python's."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookonce.web
from lookonce.letterbox import fit
from lookonce.settings.record import Preprocessing

SCRIPT = """
import { readFileSync } from "node:fs";
import { letterbox, select } from %s;
const asked = JSON.parse(readFileSync(0, "utf8"));
const answers = asked.map((one) => {
  if (one.found) return select(one.found, one.threshold, new Set(one.classes), one.record).map(({ row }) => row);
  const { input, toImage } = letterbox({ ...one.image, data: Uint8Array.from(one.image.data) }, one.record);
  return { input: [...input], box: toImage(one.box) };
});
console.log(JSON.stringify(answers));
"""


def run_node(asked: list[dict[str, Any]]) -> list[Any]:
    if shutil.which("node") is None:
        pytest.skip("no Node.js to run the page's modules: apt-get install nodejs")
    module = (Path(lookonce.web.__file__).parent / "detect.js").as_uri()
    command = ["node", "--input-type=module", "--no-warnings", "--eval", SCRIPT % json.dumps(module)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_the_letterbox_is_pythons_to_the_bit_and_boxes_come_back() -> None:
    generator = np.random.default_rng(0)
    sizes = [(64, 96), (96, 64), (33, 47), (1, 90), (90, 1), (128, 192), (128, 128), (200, 131), (5, 3)]
    asked, expected = [], []
    for height, width in sizes:
        for resize in ("letterbox", "stretch"):
            preprocessing = Preprocessing(resize=resize)
            image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            canvas, placement = fit(image, (64, 96), preprocessing)
            rgba = np.dstack([image, np.full((height, width), 255, np.uint8)])
            record = {"image_size": [64, 96], "preprocessing": preprocessing.model_dump()}
            pixels = {"width": width, "height": height, "data": rgba.ravel().tolist()}
            asked.append({"image": pixels, "record": record, "box": [-5, 20.25, 40.5, 60]})
            expected.append((canvas, placement.to_original(np.array([-5, 20.25, 40.5, 60]))))
    for answer, (canvas, box) in zip(run_node(asked), expected, strict=True):
        np.testing.assert_array_equal(np.array(answer["input"], np.uint8), canvas.ravel())
        np.testing.assert_allclose(answer["box"], box, atol=1e-9)


def test_the_filters_keep_what_predict_would() -> None:
    """Rows: 0 cup 0.9; 1 fork 0.8 on the same place; 2 cup 0.5 elsewhere; 3 fork 0.3, without an area in the image."""
    place, elsewhere = [0, 0, 10, 10], [20, 20, 30, 30]
    rows = [
        (0, 0.9, place, place),
        (1, 0.8, place, place),
        (0, 0.5, elsewhere, elsewhere),
        (1, 0.3, place, [0, 0, 0, 10]),
    ]
    found = [
        {"row": row, "label": label, "score": score, "input": at, "box": box}
        for row, (label, score, at, box) in enumerate(rows)
    ]
    thresholds = {"score": 0.25, "iou": 0.5, "max_detections": 300, "agnostic": False, "per_class_score": {}}
    cases: list[tuple[float | None, list[int], dict[str, Any], list[int]]] = [
        (None, [0, 1], {}, [0, 1, 2]),
        (0.5, [0, 1], {}, [0, 1]),  # above the threshold, not equal to it
        (None, [0], {}, [0, 2]),
        (None, [], {}, []),
        (None, [0, 1], {"max_detections": 2}, [0, 1]),
        (None, [0, 1], {"per_class_score": {"cup": 0.6}}, [0, 1]),
        (0.1, [0, 1], {"per_class_score": {"cup": 0.6}}, [0, 1, 2]),  # a given threshold applies to every class
        (None, [0, 1], {"agnostic": True}, [0, 2]),
        (None, [0, 1], {"agnostic": True, "per_class_score": {"cup": 0.95}}, [1]),
        (None, [1], {"agnostic": True}, []),
    ]
    asked = [
        {
            "found": found,
            "threshold": at,
            "classes": classes,
            "record": {"class_names": ["cup", "fork"], "thresholds": thresholds | more},
        }
        for at, classes, more, _ in cases
    ]
    assert run_node(asked) == [expected for *_, expected in cases]
