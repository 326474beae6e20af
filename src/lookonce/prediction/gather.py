"""Gathers the detections of all ranks in the order in which a single process would yield them."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from lookonce.errors import DataError
from lookonce.prediction.media import ImageSource
from lookonce.prediction.predictor import Unreadable
from lookonce.prediction.result import PredictedImage
from lookonce.rank_group import STEPS_PER_COLLECTIVE, RankGroup

OnFailure = Callable[[str, DataError], None]


def gather_in_order(
    results: Callable[[Unreadable], Generator[PredictedImage]],
    order: Sequence[Path],
    rank_group: RankGroup,
    on_failure: OnFailure,
) -> Generator[PredictedImage]:
    """Yields the result of every readable image of all ranks; all ranks yield the same results.

    results(on_unreadable): iterates over this rank's results in order. order: output path of every image, over all
    ranks. on_failure(name, error) is called, in order, for each image that cannot be read.
    """
    rows = {place: row for row, place in enumerate(order)}
    own: dict[int, PredictedImage | tuple[str, DataError]] = {}

    def unreadable(source: ImageSource, error: DataError) -> None:
        own[rows[source.place]] = (source.name, error)

    waiting: dict[int, PredictedImage | tuple[str, DataError]] = {}
    row = 0
    with closing(results(unreadable)) as found:
        while row < len(order):
            own |= {rows[image.place]: image for image in islice(found, STEPS_PER_COLLECTIVE)}
            for theirs in rank_group.gather(own):
                waiting |= theirs
            own.clear()
            while row in waiting:
                one = waiting.pop(row)
                row += 1
                if isinstance(one, PredictedImage):
                    yield one
                else:
                    on_failure(*one)
