"""`lookonce convert --probe`: two anchor masks of a Darknet file side by side, and under which its heads agree."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lookonce.data.letterbox import fit
from lookonce.detections import Detections
from lookonce.evaluation.mask_probe import MaskHypothesis, Raws, compare_hypotheses, detections_of, verdict
from lookonce.prediction.draw import draw
from lookonce.prediction.renderer import encode
from lookonce.prediction.sources import find_images
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.record import ModelRecord
from lookonce.storage import os_errors_explained
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.darknet import HEAD_16, other_masks
from lookonce.weights.foreign import ForeignWeights
from lookonce.weights.load import load_state

MOST_IMAGES, MOST_SHOWN = 64, 8
GAP_PIXELS, TITLE_PIXELS = 8, 28
SHOWN_PIXELS = 640


@dataclass(frozen=True, kw_only=True)
class Probed:
    """hypotheses: "mask=0,1,2" -> agreement of the heads. agreed: the better one, None if unclear; chosen: in use."""

    hypotheses: dict[str, MaskHypothesis]
    agreed: str | None
    chosen: str
    sheet: Path

    def lines(self) -> list[str]:
        """The result as lines of text."""
        lines = [_line(name, hypothesis) for name, hypothesis in self.hypotheses.items()]
        if self.agreed is None:
            lines.append(f"verdict: unclear from these images; compare both in {self.sheet}, or use more images")
        elif self.agreed == self.chosen:
            lines.append(f"verdict: {self.agreed}, which is in use; {self.sheet} shows both side by side")
        else:
            option = self.agreed.removeprefix("mask=")
            lines.append(f"verdict: {self.agreed}, but {self.chosen} is in use; convert again with --mask {option}")
        return lines


def _line(name: str, hypothesis: MaskHypothesis) -> str:
    if not hypothesis.num_pairs:
        return f"{name}: both heads detect no common object"
    times = f"{hypothesis.ratio:.2f} times as large as the stride-32 head's"
    return f"{name}: the stride-16 head's boxes are {times} (objects detected by both: {hypothesis.num_pairs})"


def probe(read: ForeignWeights, images: str, sheet: Path) -> Probed | None:
    """Runs the network on images and compares both masks; None if only one mask is possible. Writes the sheet."""
    masks = other_masks(read.record)
    if masks is None:
        return None
    hypotheses = {_name(record): record for record in (read.record, read.record.model_copy(update={"masks": masks}))}
    canvases = _canvases(read.record, images)
    raws = _raw_heads(read, canvases)
    found = compare_hypotheses(raws, hypotheses)
    with os_errors_explained(sheet):
        sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_bytes(encode(_sheet(canvases[:MOST_SHOWN], raws, hypotheses), sheet.suffix))
    return Probed(hypotheses=found, agreed=verdict(found), chosen=_name(read.record), sheet=sheet)


def _name(record: ModelRecord) -> str:
    return "mask=" + ",".join(map(str, record.masks[HEAD_16]))


def _canvases(record: ModelRecord, images: str) -> NDArray[np.uint8]:
    sources = find_images(images)[:MOST_IMAGES]
    return np.stack([fit(source.read(), record.image_size, record.preprocessing)[0] for source in sources])


def _raw_heads(read: ForeignWeights, canvases: NDArray[np.uint8]) -> Raws:
    model = model_from_record(read.record)
    load_state(model, read.state, "the file")
    runtime = PyTorchRuntime(model, read.record)
    parts = [runtime.raw_heads(canvases[row : row + 1]) for row in range(len(canvases))]
    return [torch.cat(heads).numpy() for heads in zip(*parts, strict=True)]


def _sheet(canvases: NDArray[np.uint8], raws: Raws, hypotheses: dict[str, ModelRecord]) -> NDArray[np.uint8]:
    """RGB image with one row per image and one column per mask."""
    scale = max(1, round(SHOWN_PIXELS / canvases.shape[2]))
    width = canvases.shape[2] * scale
    rows = [np.concatenate([_title(name, width) for name in hypotheses], axis=1)]
    for image, canvas in enumerate(canvases):
        enlarged = np.asarray(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
        drawn = [_drawn(enlarged, detections_of(raws, record, image), record, scale) for record in hypotheses.values()]
        framed = [np.pad(one, ((0, GAP_PIXELS), (0, GAP_PIXELS), (0, 0)), constant_values=255) for one in drawn]
        rows.append(np.concatenate(framed, axis=1))
    return np.concatenate(rows)


def _drawn(enlarged: NDArray[np.uint8], found: Detections, record: ModelRecord, scale: int) -> NDArray[np.uint8]:
    shown = found.select(found.scores > record.thresholds.score)
    scaled = Detections(boxes_xyxy=shown.boxes_xyxy * scale, scores=shown.scores, labels=shown.labels)
    return draw(enlarged, scaled, record.class_names)


def _title(name: str, width: int) -> NDArray[np.uint8]:
    strip = np.full((TITLE_PIXELS, width + GAP_PIXELS, 3), 255, np.uint8)
    cv2.putText(strip, name, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (16, 16, 16), 1, cv2.LINE_AA)
    return strip
