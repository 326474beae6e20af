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
    error: Any = caught.value
    parts = Path(path).parts
    found = Path(error.path).parts[-len(parts) :] if parts and error.path is not None else ()
    assert found == parts, f"path {getattr(error, 'path', None)} does not end with {path}: {error}"
    for name, wanted in fields.items():
        assert getattr(error, name) == wanted, f"{name} is {getattr(error, name)!r}: {error}"
    missing = [name for name in names if name not in str(error)]
    assert not missing, f"{missing} not in: {error}"
