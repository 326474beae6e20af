"""What image libraries warn of, logged once with the name of the file instead of printed without it."""

import ctypes
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lookonce.log import get_logger

_image_name: ContextVar[str] = ContextVar("image_name", default="")  # of the image that Pillow reads in this thread


@lru_cache(maxsize=1000)
def warn_once(message: str) -> None:
    """A file of a training set is read in every epoch."""
    get_logger().warning(message)


class _NamedWarnings:
    """In place of warnings.showwarning, which others still gets."""

    def __init__(self, others: Callable[..., None]) -> None:
        self._others = others

    def __call__(self, message: Warning | str, *details: Any, **more: Any) -> None:
        name = _image_name.get()
        if name:
            warn_once(f"{name}: {str(message).strip()}")
        else:
            self._others(message, *details, **more)


@contextmanager
def warnings_named(name: str) -> Iterator[None]:
    """Pillow's warnings in the block, such as "Corrupt EXIF data", are logged with the name of the image.

    Not with warnings.catch_warnings: where two threads overlap in it, the filters of one stay behind.
    """
    if not isinstance(warnings.showwarning, _NamedWarnings):
        warnings.showwarning = _NamedWarnings(warnings.showwarning)
    token = _image_name.set(name)
    try:
        yield
    finally:
        _image_name.reset(token)


@cache
def silence_libtiff() -> None:
    """Pillow's libtiff prints "tempfile.tif: Using code not yet in table." itself, where Pillow raises an error too."""
    try:
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libtiff" in line}
        for library in map(ctypes.CDLL, loaded):
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)
    except (OSError, AttributeError):  # not Linux, or another library of that name
        return
