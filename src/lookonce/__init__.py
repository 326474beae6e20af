"""lookonce: the complete YOLOv3-Tiny object detector.

`lookonce.load(path)` opens any weights; `lookonce.train`, `evaluate`, `predict` and `check` are the functions of the
command-line verbs. Each is imported on first use, so `import lookonce` alone is fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Name -> its module. The verb `export` shares its name with a package; use `load(path).export` instead.
_LATE = {
    "load": "lookonce.api",
    "train": "lookonce.workflows.train",
    "evaluate": "lookonce.workflows.evaluate",
    "predict": "lookonce.workflows.predict",
    "check": "lookonce.workflows.check",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
