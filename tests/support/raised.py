"""`raises`: an error that is told by what it carries and names, so that its sentence can be mended."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def raises(kind: type[Exception], *names: str, path: str | Path = "", **fields: Any) -> Iterator[Any]:
    """`kind` is raised; its message holds all `names`: names and values, no sentences.

    path: the end of the error's path, such as `a.jpg` or `images/a.jpg`, or all of it. fields: others of LookonceError.
    """
    with pytest.raises(kind) as caught:
        yield caught
    try:
        _compare(caught.value, names, Path(path).parts, fields)
    finally:
        del caught  # the error's traceback holds this frame: a circle, in which an open socket would wait for its end


def _compare(error: Any, names: tuple[str, ...], path: tuple[str, ...], fields: dict[str, Any]) -> None:
    if path:
        assert Path(error.path or "").parts[-len(path) :] == path, f"path is {error.path!r}: {error}"
    for name, wanted in fields.items():
        assert getattr(error, name) == wanted, f"{name} is {getattr(error, name)!r}: {error}"
    missing = [name for name in names if name not in str(error)]
    assert not missing, f"not told {missing}: {error}"
