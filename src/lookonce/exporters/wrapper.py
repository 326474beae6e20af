"""The network as exported: with preprocessing before it and decoding after it."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lookonce.exporters.plan import ExportPlan
from lookonce.model.decode import decode_heads
from lookonce.model.normalise import to_network_input
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.record import ModelRecord


class ExportWrapper(nn.Module):
    """The network with preprocessing and decoding, as the plan selects them."""

    def __init__(self, model: nn.Module, record: ModelRecord, plan: ExportPlan) -> None:
        super().__init__()
        self.model = fold_batchnorm(model)
        self.record = record
        self.decodes = plan.outputs != "raw"
        self.preprocess = plan.preprocess

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, H, W, 3) uint8 RGB, or (B, 3, H, W) float32 normalised -> raw heads [, boxes_xyxy, scores]."""
        pixels = to_network_input(images, self.record.preprocessing) if self.preprocess else images
        raws = self.model(pixels)
        if not self.decodes:
            return tuple(raws)
        anchors = anchor_tensors(self.record)
        boxes_xyxy, objectness, classes = decode_heads(raws, anchors, self.record.strides, self.record.dialect)
        return (*raws, boxes_xyxy, objectness[..., None] * classes)


def example_input(record: ModelRecord, plan: ExportPlan) -> Tensor:
    """Zeros of the input shape of the file. A dynamic batch has 2 images.

    PyTorch's exporters would treat a dimension of 1 as constant.
    """
    height, width = record.image_size
    if plan.preprocess:
        return torch.zeros((plan.batch or 2, height, width, 3), dtype=torch.uint8)
    return torch.zeros((plan.batch or 2, 3, height, width))


def dynamic_dimensions(plan: ExportPlan) -> dict[int, object]:
    """Dynamic dimensions of the input: index in the shape -> torch.export dimension."""
    first_side = 1 if plan.preprocess else 2
    dynamic: dict[int, object] = {0: torch.export.Dim("batch")} if plan.batch == 0 else {}
    if plan.dynamic_size:
        dynamic |= {
            first_side: 32 * torch.export.Dim("rows32", min=2),
            first_side + 1: 32 * torch.export.Dim("columns32", min=2),
        }
    return dynamic


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode, with batch normalisations folded into the convolutions before them.

    Its weights have the contiguous memory format, whatever the runtimes did to the model: files are reproducible, and
    ExecuTorch accepts no other format.
    """
    folded = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    folded = folded.to(memory_format=torch.contiguous_format)
    for block in list(folded.modules()):
        children = list(block.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(block, norm_name, nn.Identity())
    return folded


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silences the exporter's warnings of PyTorch's deprecations and of a missing torchvision, which is not used."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
