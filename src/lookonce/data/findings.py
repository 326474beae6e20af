"""What is wrong with a data set, said once and used twice: training stops at an error, `check` collects them all."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lookonce.errors import DataError
from lookonce.log import get_logger

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing somebody should look at. `name` is the kind, stable for programs; `message` stands alone.

    error: training cannot or must not go on. warning: it goes on, and something was left out or changed.
    note: worth knowing. `file` is the picture or annotation file meant.
    """

    name: str
    severity: Severity
    file: str
    message: str


Report = Callable[[Finding], None]


class StopAtError:
    """The report of training and evaluation: the first error is raised, warnings are logged together at the end."""

    def __init__(self, shown: int = 3) -> None:
        self._shown = shown
        self._warnings: dict[str, list[str]] = defaultdict(list)

    def __call__(self, finding: Finding) -> None:
        if finding.severity == "error":
            raise DataError(finding.message)
        if finding.severity == "warning":
            self._warnings[finding.name].append(finding.message)

    def log(self) -> None:
        """One line for each kind of warning: how many, and the first few."""
        for name, messages in self._warnings.items():
            more = f"; and {len(messages) - self._shown} more" if len(messages) > self._shown else ""
            get_logger().warning(f"{len(messages)} x {name}: {'; '.join(messages[: self._shown])}{more}")
        self._warnings.clear()
