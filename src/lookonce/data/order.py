"""Order of the samples, sizes of multi-scale training: pure functions of (seed, epoch, position), alike on all ranks.

A *position* counts the samples of an epoch over all ranks, from 0. The order of an epoch is a random permutation of the
data set; another permutation fills the last batch. So all batches have the same size, every image occurs at least once
per epoch, and a batch may be larger than the data set.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats

# Of the images that a seed gives. A checkpoint keeps it, because a run that resumes with another one gets other images.
STREAM_VERSION = 3
# The last word of each generator's seed names its purpose, so that no two generators share a stream.
_ORDER, _SIZE, _SAMPLE = 1, 2, 3
# A Philox counter gives four numbers of 64 bits.
_PER_COUNTER = 4


class EpochOrder:
    """Rows of the data set and random numbers by position, for one epoch."""

    def __init__(self, num_images: int, seed: int, epoch: int) -> None:
        self.num_images = num_images
        self.seed = seed
        self.epoch = epoch
        self._key = np.random.SeedSequence([seed, epoch, _SAMPLE]).generate_state(2, np.uint64)
        self._rows = np.empty(0, dtype=np.int64)  # of all positions up to the last pass asked for

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the data set at positions (>= 0, no upper limit), same shape."""
        while len(self._rows) <= positions.max():
            self._rows = np.concatenate([self._rows, self._pass(len(self._rows) // self.num_images)])
        return self._rows[positions]

    def _pass(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch, number, _ORDER]).permutation(self.num_images)

    def draws(self, positions: range, count: int) -> Floats:
        """(positions, count) uniform random numbers, 0 <= x < 1; each row depends on seed, epoch and its position only.

        positions: consecutive. Position p has ceil(count / 4) counters of Philox 4x64 (Salmon et al. 2011), from
        p * ceil(count / 4) on.
        """
        counters = -(-count // _PER_COUNTER)
        bits = np.random.Philox(key=self._key, counter=positions.start * counters)
        words = bits.random_raw(_PER_COUNTER * counters * len(positions))
        unit = (words >> np.uint64(11)) * 2.0**-53  # the 53 bits of a float64
        return np.asarray(unit.reshape(-1, _PER_COUNTER * counters)[:, :count])


def batch_size_hw(
    sizes_hw: Sequence[tuple[int, int]], seed: int, epoch: int, batch: int, resize_every: int
) -> tuple[int, int]:
    """Size of a batch's network inputs: one of sizes_hw, drawn every `resize_every` batches, the same on all ranks."""
    if len(sizes_hw) == 1:
        return sizes_hw[0]
    generator = np.random.default_rng([seed, epoch, batch // resize_every, _SIZE])
    return sizes_hw[int(generator.integers(len(sizes_hw)))]
