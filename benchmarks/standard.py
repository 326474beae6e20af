"""Default inputs of the speed benchmarks: synthetic images and an untrained network.

`make(folder)` creates, if missing, folder/images (200 JPEG files of about 640x480, synthetic scenes of lookonce),
folder/weights (a checkpoint of the full network, 80 classes, random weights of seed 0) and folder/network-416.onnx.
An untrained network needs as much computation as a trained one; with `usual_threshold` it also outputs as many boxes.
"""

from pathlib import Path

import numpy as np
import torch

from lookonce.data.synthetic import SceneOptions, make_scene
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.prediction.renderer import encode
from lookonce.runtimes.base import Runtime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.export import export

NUM_IMAGES = 200
NUM_CLASSES = 80
SIDES = (480, 640)


def make(folder: Path) -> tuple[Path, Path, Path]:
    """(image folder, checkpoint, exported file)."""
    images, weights, exported = folder / "images", folder / "weights", folder / "network-416.onnx"
    images.mkdir(parents=True, exist_ok=True)
    for number in range(NUM_IMAGES):
        path = images / f"{number:03}.jpg"
        if not path.exists():
            path.write_bytes(encode(make_scene(0, "val", number, SceneOptions(sides=SIDES)).image, ".jpg"))
    if not exported.exists():
        make_network(weights)
        export(weights, output=exported, overwrite=True)
    return images, weights, exported


def make_network(folder: Path) -> None:
    """Write a checkpoint whose scores vary between boxes, like those of a trained network."""
    names = tuple(f"class {number}" for number in range(NUM_CLASSES))
    record = ModelRecord(dialect=DIALECTS["darknet"], class_names=names, category_ids=tuple(range(1, NUM_CLASSES + 1)))
    model = YoloV3Tiny(NUM_CLASSES)
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in (model.head32, model.head16):
            head.weight *= 20
    save_checkpoint(folder, state=model.state_dict(), record=record)


def usual_threshold(runtime: Runtime, canvases: np.ndarray, boxes_each: int = 8) -> float:
    """The score that about `boxes_each` boxes per image exceed."""
    found = runtime.detect(canvases[:16], score_threshold=0.0005, iou_threshold=0.5, max_detections=300)
    scores = np.sort(np.concatenate([one.scores for one in found]))[::-1]
    return float(scores[min(boxes_each * len(found), len(scores) - 1)])
