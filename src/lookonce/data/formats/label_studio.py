"""Label Studio's own JSON: a list of tasks, each an image with annotations or predictions.

Source: https://labelstud.io/guide/task_format. Rectangles are percentages of the image; of a task with several
annotations that are not cancelled, the last one counts, and without any its last prediction.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.data.findings import Report
from lookonce.data.formats.names import write_names
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, list_of, read_json, size_wh
from lookonce.data.formats.shapes import around
from lookonce.shown import to_json

LOCAL_FILES = "/data/local-files/?d="  # of a server with LOCAL_FILES_SERVING_ENABLED
UPLOADS = "/data/upload/"  # the images that were uploaded to a server
_SHAPES = {"rectanglelabels", "polygonlabels"}


def parse_label_studio(path: Path, report: Report) -> list[LabelledImage]:
    """Rectangles, and the boxes around polygons, of every task."""
    images = []
    for number, task in enumerate(list_of(read_json(path, "tasks of Label Studio")), start=1):
        place = f"{path} task {number}"
        with entry_of(path, place, task, "data with an image, and annotations with their results", report):
            annotations = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
            chosen = annotations or task.get("predictions") or [{"result": []}]
            results = [one for one in chosen[-1]["result"] if one.get("type") in _SHAPES]
            first = results[0] if results else {}
            image = LabelledImage(
                file=path,
                name=_image_of(task),
                boxes=tuple(_box(one, f"{place} result {row}") for row, one in enumerate(results, start=1)),
                size_wh=size_wh(first.get("original_width"), first.get("original_height")),
            )
            images.append(image)
    return images


def _image_of(task: Mapping[str, Any]) -> str:
    """The image's path as a task names it, without the address of the server."""
    data = task["data"]
    written = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
    if not isinstance(written, str):
        raise TypeError
    _, mark, local = written.partition("?d=")
    return (unquote(local if mark else written) if written.startswith("/data/") else written).removeprefix(UPLOADS)


def _box(result: Mapping[str, Any], place: str) -> LabelledBox:
    value, kind = result["value"], result["type"]
    wh = np.array([float(result["original_width"]), float(result["original_height"])])
    if kind == "polygonlabels":
        corners = np.array(value["points"], np.float64).reshape(-1, 2) / 100 * wh
    else:
        left_top = np.array([float(value["x"]), float(value["y"])]) / 100 * wh
        size = np.array([float(value["width"]), float(value["height"])]) / 100 * wh
        angle = math.radians(float(value.get("rotation") or 0))  # clockwise about the top left corner
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        corners = left_top + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size @ turn
    return LabelledBox(name=str(value[kind][0]).strip(), box_xyxy=around(corners.tolist()), place=place)


def write_label_studio(folder: Path, datasets: Sequence[Dataset], scores: NDArray[np.float32] | None = None) -> None:
    """tasks_SPLIT.json for each split, and the list of classes.

    scores: of the boxes of the only data set, which are then predictions, for a person to correct; else annotations.
    """
    for dataset in datasets:
        tasks = []
        for index, path in enumerate(dataset.image_paths):
            rows = dataset.rows(index)
            of_image = None if scores is None else scores[rows].tolist()
            labelled: dict[str, Any] = {"result": _written(dataset, index, of_image)}
            if of_image is not None:
                labelled |= {"model_version": "lookonce", "score": min(of_image, default=0.0)}
            address = LOCAL_FILES + quote(path.relative_to(folder).as_posix())
            tasks.append(
                {"data": {"image": address}, "predictions" if of_image is not None else "annotations": [labelled]}
            )
        (folder / f"tasks_{dataset.split}.json").write_text(to_json(tasks), encoding="utf-8")
    write_names(folder, datasets[0].class_names)


def _written(dataset: Dataset, index: int, scores: Sequence[float] | None) -> list[dict[str, Any]]:
    rows, (width, height) = dataset.rows(index), dataset.image_sizes_wh[index].tolist()
    percent = dataset.boxes_xyxy[rows] / np.array([width, height, width, height]) * 100
    results = []
    for number, (label, (left, top, right, bottom)) in enumerate(
        zip(dataset.labels[rows].tolist(), percent.tolist(), strict=True)
    ):
        value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        results.append(
            {
                "id": f"{index + 1}-{number + 1}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "value": {**value, "rectanglelabels": [dataset.class_names[label]]},
                **({} if scores is None else {"score": scores[number]}),
            }
        )
    return results
