"""Exports of real labelling programs, in their own environments (`./run labels -c 1`, `./run fiftyone -c 1`)."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.data.source import open_data

ROOT = Path(__file__).resolve().parents[2]
WRITES = {
    "datumaro": ("coco", "coco_instances", "cvat", "datumaro", "open_images", "voc", "yolo", "yolo_ultralytics"),
    "supervision": ("coco", "voc", "yolo"),
    "labelme2coco": ("labelme", "coco"),
    "label_studio": ("coco", "voc", "yolo"),
    "fiftyone": ("coco", "cvat", "darknet", "fiftyone", "labels", "voc", "yolo"),
}
# Pixels. supervision counts corners in VOC files from 1 and writes five digits of a fraction in YOLO files; Label
# Studio cuts corners off to whole pixels; others write six digits of a fraction at least.
TOLERANCES = {("supervision", "voc"): 1, ("supervision", "yolo"): 1e-5 * 640, ("label_studio", "voc"): 2}
TOLERANCES |= {("fiftyone", name): 1 for name in ("cvat", "voc")}  # FiftyOne writes whole pixels there

pytestmark = pytest.mark.slow
Boxes = dict[str, list[tuple[str, list[float]]]]


def images_of(data: Path, count: int) -> list[dict[str, object]]:
    """The first images of train and val, as label_programs.py takes them."""
    source, images = open_data(data), []
    for dataset in map(source.split, ("train", "val")):
        for index in range(count):
            rows = dataset.rows(index)
            boxes = np.column_stack([dataset.labels[rows], dataset.boxes_xyxy[rows]]).tolist()
            images.append(
                {
                    "path": str(dataset.image_paths[index]),
                    "split": dataset.split,
                    "size_wh": dataset.image_sizes_wh[index].tolist(),
                    "boxes": [[int(label), *box] for label, *box in boxes],
                }
            )
    return images


def boxes_of(data: Path) -> Boxes:
    found: Boxes = {}
    for dataset in map(open_data(data).split, open_data(data).splits):
        for index, path in enumerate(dataset.image_paths):
            rows = dataset.rows(index)
            names = [dataset.class_names[label] for label in dataset.labels[rows]]
            found[path.stem] = in_order(zip(names, dataset.boxes_xyxy[rows].tolist(), strict=True))
    return found


def in_order(boxes: object) -> list[tuple[str, list[float]]]:
    return sorted(boxes, key=lambda one: (one[0], np.round(one[1], 1).tolist()))  # type: ignore[call-overload]


@pytest.mark.parametrize("program", WRITES)
def test_what_a_labelling_program_writes_is_read(program: str, shared: Callable[[str], Path], tmp_path: Path) -> None:
    environment = "fiftyone" if program == "fiftyone" else "labels"
    python = ROOT / f".venv-{environment}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{program} is not installed: `./run {environment} -c 1` installs it")
    data = shared("data/bccd")
    source = {"names": list(open_data(data).class_names), "images": images_of(data, 3)}
    (tmp_path / "source.json").write_text(json.dumps(source))
    script = ROOT / "tests" / "support" / "label_programs.py"
    command = [python, script, program, tmp_path / "source.json", tmp_path / "written"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = {
        Path(image["path"]).stem: in_order((source["names"][label], box) for label, *box in image["boxes"])
        for image in source["images"]
    }
    for name in WRITES[program]:
        found = boxes_of(tmp_path / "written" / name)
        assert found.keys() == wanted.keys(), name
        for stem, boxes in found.items():
            assert [label for label, _ in boxes] == [label for label, _ in wanted[stem]], name
            tolerance = TOLERANCES.get((program, name), 1e-3)
            one, two = (np.array([box for _, box in some]) for some in (boxes, wanted[stem]))
            np.testing.assert_allclose(one, two, rtol=0, atol=tolerance, err_msg=name)
