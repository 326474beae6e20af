"""Python's garbage collector, off while many objects are made that stay."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collecting_later() -> Iterator[None]:
    """Inside the block, which makes objects and hardly any garbage, the collector is off; then it takes all for old.

    It would pass over them again and again: for 0.6 s of the 4.6 s of processor time of `import torch`, and 0.2 s for
    each of the next two passes, which only find them old; of a million dicts it doubles the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_freeze_count() == 0:  # else the program has frozen objects, which have to stay so
                gc.freeze()
                gc.unfreeze()  # into the oldest generation, without a pass
            gc.enable()


def leave_without_collecting() -> None:
    """At the end of this process Python would pass over all objects twice more: 1.2 s after `import torch`."""
    atexit.register(gc.freeze)
