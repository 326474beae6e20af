"""The loss on the validation images, on the logits that validation decodes anyway: no second forward pass."""

from collections.abc import Container, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.data.anchors import all_boxes_at_input
from lookonce.data.dataset import Dataset
from lookonce.model.assign import Targets
from lookonce.model.loss import DetectionLoss
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.record import ModelRecord

PARTS = ("val_box", "val_objectness", "val_classes")


class LossRuntime(PyTorchRuntime):
    """Detects, and sums the loss over the images. They come in the order of `rows` of the data set.

    left_out: paths whose loss does not count. sums (4,) float64: box, objectness, classes, and what divides them, which
    is summed over all images, as training sums it over a batch.
    """

    def __init__(
        self,
        model: nn.Module,
        record: ModelRecord,
        loss: DetectionLoss,
        dataset: Dataset,
        *,
        rows: Sequence[int],
        left_out: Container[Path],
    ) -> None:
        super().__init__(model, record)
        self.sums = torch.zeros(4, dtype=torch.float64)  # on the CPU: mps has no float64
        self._loss, self._dataset, self._left_out = loss, dataset, left_out
        self._rows = iter(rows)
        self._boxes_xyxy, _ = all_boxes_at_input(dataset, record.image_size, record.preprocessing.resize)

    @torch.inference_mode()
    def raw_heads(self, canvases: NDArray[np.uint8]) -> list[Tensor]:
        """As PyTorchRuntime; images after the last row are padding of the batch, and do not count."""
        raws = super().raw_heads(canvases)
        rows = list(islice(self._rows, len(canvases)))
        kept = [place for place, row in enumerate(rows) if self._dataset.image_paths[row] not in self._left_out]
        if kept:
            self._add([raw[kept] for raw in raws], self._targets([rows[place] for place in kept]))
        return raws

    def _add(self, raws: Sequence[Tensor], targets: Targets) -> None:
        divisors = []

        def undivided(divisor: Tensor) -> Tensor:
            divisors.append(divisor)
            return torch.ones_like(divisor)

        parts = self._loss(raws, targets, sum_over_ranks=undivided)
        self.sums += torch.stack([parts.box, parts.objectness, parts.classes, *divisors]).cpu().double()

    def _targets(self, rows: Sequence[int]) -> Targets:
        of_rows = [self._dataset.rows(row) for row in rows]
        boxes, labels, crowd = (
            torch.from_numpy(np.concatenate([values[one] for one in of_rows]))
            for values in (self._boxes_xyxy, self._dataset.labels, self._dataset.crowd)
        )
        counts = torch.tensor([one.stop - one.start for one in of_rows])
        image_index = torch.arange(len(rows)).repeat_interleave(counts)
        return Targets.from_flat(boxes, labels, image_index, crowd, batch_size=len(rows)).to(self.device)


def mean_losses(sums: Sequence[Sequence[float]]) -> dict[str, float]:
    """The sums (4,) of each rank -> val_loss and its parts, in the unit of the training loss."""
    *parts, divisor = (sum(values) for values in zip(*sums, strict=True))
    means = {name: value / max(divisor, 1.0) for name, value in zip(PARTS, parts, strict=True)}
    return {"val_loss": sum(means.values())} | means
