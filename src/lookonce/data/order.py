"""Order of the samples: pure functions of (seed, epoch, position), so that every worker and rank computes it alone.

A *position* counts the samples of an epoch over all ranks, from 0. The order of an epoch is a random permutation of the
data set; another permutation fills the last batch. So all batches have the same size, every image occurs at least once
per epoch, and a batch may be larger than the data set.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# The last word of each generator's seed names its purpose, so that no two generators share a stream.
_ORDER, _SIZE, _SAMPLE = 1, 2, 3
# Mosaic and mixup partners are drawn from the last 128 positions, the sample's own included. The order is random, so
# these are random images, and the cache still has them: with 256 MB and 1,456 images of 640x480, 1.06 decodings per
# mosaic instead of 3.3 with partners from the whole data set (1.46 with a window of 256).
PARTNER_WINDOW = 128


class EpochOrder:
    """Rows of the data set by position, for one epoch; without `shuffle` in the data set's order."""

    def __init__(self, num_images: int, seed: int, epoch: int, *, shuffle: bool = True) -> None:
        self.num_images = num_images
        self.seed = seed
        self.epoch = epoch
        self.shuffle = shuffle
        self._passes: dict[int, NDArray[np.int64]] = {}

    def row(self, position: int) -> int:
        """Row of the data set at a position (>= 0, no upper limit)."""
        number, offset = divmod(position, self.num_images)
        return int(self._pass(number)[offset]) if self.shuffle else offset

    def _pass(self, number: int) -> NDArray[np.int64]:
        if number not in self._passes:
            generator = np.random.default_rng([self.seed, self.epoch, number, _ORDER])
            self._passes[number] = generator.permutation(self.num_images)
        return self._passes[number]

    def partner(self, position: int, generator: np.random.Generator) -> int:
        """Row of an image to combine with the one at `position`; at the start of an epoch it wraps to the end."""
        distance = int(generator.integers(min(PARTNER_WINDOW, self.num_images)))
        return self.row((position - distance) % self.num_images)

    def generator(self, position: int) -> np.random.Generator:
        """Random generator of the sample at `position`."""
        return np.random.default_rng([self.seed, self.epoch, position, _SAMPLE])


def batch_size_hw(
    sizes_hw: Sequence[tuple[int, int]], seed: int, epoch: int, batch: int, resize_every: int
) -> tuple[int, int]:
    """Size of a batch's network inputs: one of sizes_hw, drawn every `resize_every` batches, the same on all ranks."""
    if len(sizes_hw) == 1:
        return sizes_hw[0]
    generator = np.random.default_rng([seed, epoch, batch // resize_every, _SIZE])
    return sizes_hw[int(generator.integers(len(sizes_hw)))]
