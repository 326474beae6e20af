"""Runs the network in PyTorch: detection with a checkpoint or with a network that is being trained."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.detections import Detections
from lookonce.devices import copy_to_device
from lookonce.model.decode import decode_candidates
from lookonce.model.nms import select_detections
from lookonce.model.nms_torch import select_batch
from lookonce.model.normalise import to_network_input
from lookonce.settings.record import ModelRecord

PROCESS = os.getpid()


def anchor_tensors(record: ModelRecord, device: torch.device | str | None = None) -> list[Tensor]:
    """For each head, in the order of the outputs: (A, 2) float32 anchors, width and height in pixels."""
    heads = range(len(record.strides))
    return [torch.tensor(record.head_anchors(head), dtype=torch.float32, device=device) for head in heads]


def use_threads(threads: int) -> None:
    """Set the number of PyTorch's compute threads for the whole process; 1 in a fork of the one that imported this."""
    if os.getpid() != PROCESS:
        threads = 1  # a forked process would wait for OpenMP's threads, which only its parent has
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class PyTorchRuntime:
    """The network as a Runtime (see runtimes.base). The model is not copied, so its weights may change between calls,
    as EMA weights do during training. `detect` switches it to evaluation mode. selects_on_device: the network gets
    whole batches, and NMS runs on its device.
    """

    name = "pytorch"
    takes_any_size = True

    def __init__(self, model: nn.Module, record: ModelRecord, *, device: torch.device | str | None = None) -> None:
        self.record = record
        self.device = next(model.parameters()).device if device is None else torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.selects_on_device = self.device.type != "cpu"
        self._anchors = anchor_tensors(record, self.device)
        self._process = os.getpid()

    @torch.inference_mode()
    def raw_heads(self, canvases: NDArray[np.uint8]) -> list[Tensor]:
        """(B, H, W, 3) uint8 RGB -> (B, A * (5 + C), H / stride, W / stride) logits of each head."""
        if self._process != os.getpid():
            use_threads(1)  # whatever the parent had set
        images = copy_to_device(torch.from_numpy(np.ascontiguousarray(canvases)), self.device)
        return list(self.model.eval()(to_network_input(images, self.record.preprocessing)))

    def detect(self, canvases: NDArray[np.uint8], **options: Any) -> list[Detections]:
        """See runtimes.base.Runtime.detect."""
        return self.begin(canvases, **options)()

    def begin(self, canvases: NDArray[np.uint8], **options: Any) -> Callable[[], list[Detections]]:
        """See runtimes.detector.Begins."""
        # On a CPU one image at a time: rounding in convolutions depends on the batch size, so the detections of
        # an image would depend on the rest of the batch; and larger batches are not faster there.
        step = max(len(canvases), 1) if self.selects_on_device else 1
        raws = [self.raw_heads(canvases[start : start + step]) for start in range(0, len(canvases), step)]
        return lambda: [one for batch in raws for one in self.select(batch, **options)]

    @torch.inference_mode()
    def select(
        self,
        raws: Sequence[Tensor],
        *,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
        **thresholds: Any,
    ) -> list[Detections]:
        """Raw maps of a batch -> detections of each image; on a CPU the batch is one image. Options: as `detect`."""
        record = self.record
        options = record.thresholds.selection(multi_label, agnostic) | thresholds
        boxes_xyxy, scores, image_index = decode_candidates(
            raws, self._anchors, record.strides, record.dialect, score_threshold=options["score_threshold"]
        )
        if self.selects_on_device:
            return select_batch(boxes_xyxy, scores, image_index, batch_size=len(raws[0]), **options)
        return [select_detections(boxes_xyxy.numpy(), scores.numpy(), **options)]
