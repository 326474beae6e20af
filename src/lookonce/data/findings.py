"""Findings about a data set: training stops at the first error, `check` collects all of them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lookonce.data.finding_kinds import FINDING_KINDS, Severity
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.shown import command


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem of a data set. `name`: a key of FINDING_KINDS; `message`: complete without its context.

    `file`: the image or annotation file; `box_xyxy`: the box as written, in pixels of the upright image; `twin`: the
    other image, where the finding is about two; `tag`: a word for the box, such as its class.
    """

    name: str
    file: str
    message: str
    box_xyxy: tuple[float, float, float, float] | None = None
    twin: str = ""
    tag: str = ""

    @classmethod
    def at(cls, name: str, file: str | Path, problem: str, **more: Any) -> Self:
        """About a file: its message is `file: problem`."""
        return cls(name=name, file=str(file), message=f"{file}: {problem}", **more)

    @property
    def severity(self) -> Severity:
        return FINDING_KINDS[self.name].severity


Report = Callable[[Finding], None]


def ignore(_: Finding) -> None:
    """The report of a file whose problems are reported when its own split is read."""


class RaiseOnError:
    """The report of training and evaluation: raises the first error; `log` logs all warnings together at the end.

    data: the data set, for the command that lists all errors. logged: lines that are not logged again, as those of a
    folder that is both train and val; `log` adds its own.
    """

    def __init__(self, data: str | Path = "DATA", *, shown: int = 3, logged: set[str] | None = None) -> None:
        self._data, self._shown = data, shown
        self._logged = set() if logged is None else logged
        self._warnings: dict[str, list[Finding]] = defaultdict(list)

    def __call__(self, finding: Finding) -> None:
        if finding.severity == "error":
            lists_all = f"; `{command('check', self._data)}` lists every error"
            more = "" if "lookonce check" in finding.message else lists_all
            raise DataError(finding.message + more, path=finding.file, check=finding.name)
        if finding.severity == "warning":
            self._warnings[finding.name].append(finding)

    def log(self) -> None:
        """Log one line for each kind of warning: the count and the first messages."""
        for name, findings in self._warnings.items():
            more = f"; and {len(findings) - self._shown} more" if len(findings) > self._shown else ""
            line = f"{len(findings)} x {name}: {_listed(findings[: self._shown])}{more}"
            if line not in self._logged:
                get_logger().warning(line)
            self._logged.add(line)
        self._warnings.clear()


def _listed(findings: Sequence[Finding]) -> str:
    """Their messages; of those that differ from the first in the file's name alone, the name."""
    first, *others = findings
    stem = Path(first.file).stem
    listed = [first.message]
    for other in others:
        is_alike = stem and other.message == first.message.replace(stem, Path(other.file).stem)
        listed.append(f"also {Path(other.file).name}" if is_alike else other.message)
    return "; ".join(listed)
