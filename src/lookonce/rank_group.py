"""The pictures of one of several processes, and what all of them know together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lookonce.errors import DataError

# Pictures or batches from one meeting to the next: often enough that a process that hangs is told from those that work;
# the quicker ones wait for the slower there.
STEPS_PER_COLLECTIVE = 16


@dataclass(frozen=True, kw_only=True)
class RankGroup:
    """The part of the pictures that one of `size` processes looks at: its rank, rank + size, rank + 2 * size ...

    Two meetings, to which all processes come in the same order: gather gives each process what all of them have, one
    value a rank; broadcast gives each what the main one has.
    """

    rank: int = 0
    size: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    broadcast: Callable[[Any], Any] = lambda value: value

    @property
    def is_main(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def shard(self, num_images: int) -> range:
        return range(self.rank, num_images, self.size)

    def require_same(self, value: Any, what: str) -> None:
        """DataError where other processes have another value; `what` names it: "the training annotations"."""
        others = [rank for rank, theirs in enumerate(self.gather(value)) if theirs != value]
        if others:
            raise DataError(
                f"{what} here are not those of rank {', '.join(map(str, others))}; every machine needs the same data "
                "set"
            )


SINGLE_RANK = RankGroup()
