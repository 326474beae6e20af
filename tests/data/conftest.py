"""Small data sets on the disk."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """save_picture(path, width, height): a plain picture; no two are alike."""
    shade = iter(range(1000))

    def save(path: Path, width: int = 100, height: int = 50, **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), next(shade), np.uint8)).save(path, **options)
        return path

    return save


@pytest.fixture
def save_coco() -> Callable[..., Path]:
    """save_coco(path, boxes, ...): annotation file; boxes are (picture id, category id, xywh)."""

    def save(
        path: Path,
        boxes: Sequence[tuple[int, int, tuple[float, float, float, float]]] = (),
        *,
        images: Sequence[dict[str, object]] = ({},),
        categories: Sequence[tuple[int, str]] = ((1, "cell"),),
        changes: dict[str, object] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "images": [
                {"id": number, "file_name": f"{number}.png", "width": 100, "height": 50, **image}
                for number, image in enumerate(images, start=1)
            ],
            "annotations": [
                {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "area": 9.0, "iscrowd": 0}
                for number, (image, category, box) in enumerate(boxes, start=1)
            ],
            "categories": [{"id": category, "name": name} for category, name in categories],
        }
        content.update(changes or {})
        path.write_text(json.dumps(content))
        return path

    return save


@pytest.fixture
def save_voc() -> Callable[..., Path]:
    """save_voc(root, {"a": [(name, corners), ...]}, {"train": ["a"]}): a VOC root without pictures."""

    def save(
        root: Path,
        objects: dict[str, list[tuple[Any, ...]]],
        lists: dict[str, list[str]],
        *,
        size: str = "<size><width>100</width><height>50</height></size>",
    ) -> Path:
        (root / "Annotations").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        for stem, things in objects.items():
            bodies = "".join(
                f"<object><name>{name}</name><difficult>{int(bool(difficult))}</difficult><bndbox>"
                + "".join(
                    f"<{tag}>{value}</{tag}>"
                    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
                )
                + "</bndbox></object>"
                for name, corners, *difficult in things
            )
            (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{size}{bodies}</annotation>")
        for split, stems in lists.items():
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
        return root

    return save
