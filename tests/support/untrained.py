"""A network that was not trained, and finds something in every texture."""

from pathlib import Path

import torch

from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise, scaled_channels
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds
from lookonce.weights.checkpoint import save_checkpoint


def save_untrained(folder: Path, class_names: tuple[str, str], category_ids: tuple[int, int]) -> None:
    """A checkpoint of an eighth of the channels, for pictures of 64x64."""
    channels = scaled_channels(1 / 8)
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=channels,
        class_names=class_names,
        category_ids=category_ids,
        image_size=(64, 64),
        thresholds=Thresholds(score=0.2),
    )
    model = YoloV3Tiny(2, channels=channels)
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in (model.head32, model.head16):
            head.weight *= 20  # scores far enough apart that no rounding changes their order
            head.bias.zero_()
    save_checkpoint(folder, state=model.state_dict(), record=record)
