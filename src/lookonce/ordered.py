"""A parallel map over threads or processes that yields results in input order; batches of what an iterator yields."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last of which may be shorter."""
    while batch := list(islice(items, size)):
        yield batch


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Yield function(item) of each item, in order; `ahead` further items are submitted before each result is awaited.

    Items are read as needed, so `items` may be endless. When the caller stops, calls that have not begun are cancelled.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
