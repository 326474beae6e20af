"""`train` on the layouts that labelling programs hand out: it reads, learns for an epoch of one batch, and scores.

The default suite has one layout for each reader (0.8 s each), -m slow has all.
"""

from pathlib import Path

import pytest
import torch
from label_layouts import (
    LAYOUTS,
    Build,
    Source,
    coco_roboflow,
    csv_tensorflow,
    cvat,
    darknet,
    labelme,
    voc_lists,
    yolo_classes_txt,
    yolo_yaml,
)

from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.workflows.train import train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source") / "data"
    write_synthetic(folder, train=3, val=2, options=SceneOptions(sides=(32, 48), smallest=12, max_things=3))
    return Source(folder)


ONE_FOR_EACH_READER = (coco_roboflow, yolo_yaml, yolo_classes_txt, darknet, voc_lists, labelme, cvat, csv_tensorflow)


@pytest.mark.parametrize(
    "build",
    [build if build in ONE_FOR_EACH_READER else pytest.param(build, marks=pytest.mark.slow) for build in LAYOUTS],
    ids=lambda build: build.__name__,
)
def test_train_takes_a_step(build: Build, source: Source, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "data").mkdir()
    data = build(tmp_path / "data", source)
    result = train(
        data=str(data),
        runs=str(tmp_path / "runs"),
        epochs=1,
        batch_size=3,
        image_size=32,
        width=0.0625,
        device="cpu",
        workers=0,
    )
    (row,) = result.run.metrics()
    assert row["loss"] > 0
    # Some of the layouts without a split val have enough images with boxes to hold some out.
    assert ("AP" in row) == ("val" in open_data(data).splits or (result.run.path / "val.txt").exists())
