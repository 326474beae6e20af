"""A data set for `torch.utils.data.DataLoader`, for training loops that are not lookonce's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lookonce.data.augment import Augmentation
from lookonce.data.loader import Loader, fitted_row
from lookonce.data.source import open_data
from lookonce.model.assign import Targets
from lookonce.model.normalise import to_network_input
from lookonce.settings.record import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One network input and its M boxes. A crowd box is neither object nor background."""

    image: Tensor  # (3, H, W) float32, normalised as the preprocessing says; by default RGB, 0..1
    boxes_xyxy: Tensor  # (M, 4) float32 pixels of the network input
    labels: Tensor  # (M,) int64, index into class_names
    crowd: Tensor  # (M,) bool


class Samples(Dataset[Sample]):
    """A split of any data set that lookonce reads; sample i is a function of (seed, epoch, i) alone.

    data: a data set in any layout of docs/data.md, or an annotation JSON with `images`, as for `lookonce train --data`.
    follow_links: as `lookonce train --follow-links`.
    image_size: side of the network input in pixels, or (height, width); multiples of 32. augmentation: None fits the
    images as at inference, in the data set's order; else they are augmented, in a new random order each epoch. Set
    `epoch` before each epoch; a DataLoader with persistent workers keeps the old one. cache_mb: decoded images that
    each process keeps for augmentation, in MB.
    """

    def __init__(
        self,
        data: str | PathLike[str],
        split: str = "train",
        *,
        images: str | PathLike[str] | None = None,
        follow_links: bool = False,
        image_size: int | tuple[int, int] = 416,
        augmentation: Augmentation | None = None,
        preprocessing: Preprocessing | None = None,
        seed: int = 0,
        cache_mb: float = 256,
    ) -> None:
        self.epoch = 0
        self.preprocessing = preprocessing or Preprocessing()
        source = open_data(Path(data), None if images is None else Path(images), follow_links=follow_links)
        self.dataset = source.split(split)
        self._size_hw = (image_size, image_size) if isinstance(image_size, int) else image_size
        self._loader = (
            None
            if augmentation is None
            else Loader(
                self.dataset,
                batch_size=1,
                image_sizes=(self._size_hw,),
                preprocessing=self.preprocessing,
                augment=augmentation,
                seed=seed,
                workers=0,
                cache_mb=cache_mb,
            )
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.dataset.class_names

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Sample:
        if not 0 <= position < len(self):
            raise IndexError(position)
        if self._loader is None:
            canvas, boxes_xyxy = fitted_row(self.dataset, position, self._size_hw, self.preprocessing)
            rows = self.dataset.rows(position)
            labels, crowd = self.dataset.labels[rows], self.dataset.crowd[rows]
        else:
            batch = self._loader.sample(self.epoch, position)
            canvas, boxes_xyxy, labels, crowd = batch.images[0], batch.boxes_xyxy, batch.labels, batch.crowd
        return Sample(
            image=to_network_input(torch.from_numpy(canvas[None]), self.preprocessing)[0].contiguous(),
            boxes_xyxy=torch.from_numpy(boxes_xyxy).float(),
            labels=torch.from_numpy(labels),
            crowd=torch.from_numpy(crowd),
        )


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Targets]:
    """B samples -> images (B, 3, H, W) float32, and their boxes, padded as lookonce.model.loss takes them."""
    counts = torch.tensor([len(sample.labels) for sample in samples])
    return torch.stack([sample.image for sample in samples]), Targets.from_flat(
        torch.cat([sample.boxes_xyxy for sample in samples]),
        torch.cat([sample.labels for sample in samples]),
        torch.repeat_interleave(torch.arange(len(samples)), counts),
        torch.cat([sample.crowd for sample in samples]),
        batch_size=len(samples),
    )
