"""Runs the network in PyTorch: detection with a checkpoint or with a network that is being trained."""

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.detections import Detections
from lookonce.model.decode import decode_heads
from lookonce.model.nms import select_detections
from lookonce.model.normalise import to_network_input
from lookonce.settings.record import ModelRecord


def anchor_tensors(record: ModelRecord, device: torch.device | str | None = None) -> list[Tensor]:
    """For each head, in the order of the outputs: (A, 2) float32 anchors, width and height in pixels."""
    heads = range(len(record.strides))
    return [torch.tensor(record.head_anchors(head), dtype=torch.float32, device=device) for head in heads]


def use_threads(threads: int) -> None:
    """Set the number of PyTorch's compute threads for the whole process."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class PyTorchRuntime:
    """The network as a Runtime (see runtimes.base). The model is not copied, so its weights may change between calls,
    as EMA weights do during training. `detect` switches it to evaluation mode.
    """

    name = "pytorch"

    def __init__(self, model: nn.Module, record: ModelRecord, *, device: torch.device | str | None = None) -> None:
        self.record = record
        self.device = next(model.parameters()).device if device is None else torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._anchors = anchor_tensors(record, self.device)
        self._process = os.getpid()

    @torch.inference_mode()
    def raw_heads(self, canvases: NDArray[np.uint8]) -> list[Tensor]:
        """(B, H, W, 3) uint8 RGB -> (B, A * (5 + C), H / stride, W / stride) logits of each head."""
        if self._process != os.getpid():
            use_threads(1)  # a forked process would wait for OpenMP's threads, which only its parent has
        images = torch.from_numpy(np.ascontiguousarray(canvases)).to(self.device)
        return list(self.model.eval()(to_network_input(images, self.record.preprocessing)))

    @torch.inference_mode()
    def decode(self, canvases: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(B, H, W, 3) uint8 RGB -> boxes_xyxy (B, N, 4) input pixels, scores (B, N, C) objectness * class."""
        raws = self.raw_heads(canvases)
        boxes_xyxy, objectness, classes = decode_heads(raws, self._anchors, self.record.strides, self.record.dialect)
        return boxes_xyxy.cpu().numpy(), (objectness[..., None] * classes).cpu().numpy()

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
    ) -> list[Detections]:
        """See runtimes.base.Runtime.detect."""
        # On a CPU one image at a time: rounding in convolutions depends on the batch size, so the detections of
        # an image would depend on the rest of the batch; and larger batches are not faster there.
        step = 1 if self.device.type == "cpu" else max(len(canvases), 1)
        found: list[Detections] = []
        for start in range(0, len(canvases), step):
            found += [
                select_detections(
                    boxes_xyxy,
                    scores,
                    score_threshold=score_threshold,
                    iou_threshold=iou_threshold,
                    max_detections=max_detections,
                    multi_label=self.record.thresholds.multi_label if multi_label is None else multi_label,
                    agnostic=self.record.thresholds.agnostic if agnostic is None else agnostic,
                )
                for boxes_xyxy, scores in zip(*self.decode(canvases[start : start + step]), strict=True)
            ]
        return found
