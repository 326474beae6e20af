"""RankGroup: the shard of images of one rank, and the collectives of all ranks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lookonce.errors import DataError

# Images or batches between two collectives: few enough that the watchdog detects a rank that hangs. Faster ranks wait
# there for slower ones.
STEPS_PER_COLLECTIVE = 16


@dataclass(frozen=True, kw_only=True)
class RankGroup:
    """Rank `rank` of `size` processes; its shard is the images rank, rank + size, rank + 2 * size, ...

    Three collectives, called by all ranks in the same order: `gather` returns one value per rank, in rank order;
    `gather_to_main` the same on rank 0 only, and an empty list on the others; `broadcast` returns rank 0's value.
    """

    rank: int = 0
    size: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    gather_to_main: Callable[[Any], list[Any]] = lambda value: [value]
    broadcast: Callable[[Any], Any] = lambda value: value

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which logs and writes."""
        return self.rank == 0

    def shard(self, num_images: int) -> range:
        return range(self.rank, num_images, self.size)

    def require_same(self, value: Any, what: str) -> None:
        """DataError if another rank has another value; `what` names the value, e.g. "the training annotations"."""
        others = [rank for rank, theirs in enumerate(self.gather(value)) if theirs != value]
        if others:
            raise DataError(
                f"{what}: rank {self.rank} has others than rank {', '.join(map(str, others))}; expected the same data "
                "set on every node; copy it to all nodes again"
            )


SINGLE_RANK = RankGroup()
