"""What is wrong with a data set, said once and used twice: training stops at an error, `check` collects them all."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from lookonce.data.finding_kinds import FINDING_KINDS, Severity
from lookonce.errors import DataError
from lookonce.log import get_logger


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing somebody should look at. `name` is a key of FINDING_KINDS; `message` stands alone.

    `file` is the picture or annotation file meant; `box_xyxy` the box, in pixels of the upright picture and as it was
    written; `twin` the other picture, where there are two.
    """

    name: str
    file: str
    message: str
    box_xyxy: tuple[float, float, float, float] | None = None
    twin: str = ""

    @property
    def severity(self) -> Severity:
        return FINDING_KINDS[self.name].severity


Report = Callable[[Finding], None]


class RaiseOnError:
    """The report of training and evaluation: the first error is raised, warnings are logged together at the end."""

    def __init__(self, shown: int = 3) -> None:
        self._shown = shown
        self._warnings: dict[str, list[str]] = defaultdict(list)

    def __call__(self, finding: Finding) -> None:
        if finding.severity == "error":
            raise DataError(finding.message, path=finding.file, check=finding.name)
        if finding.severity == "warning":
            self._warnings[finding.name].append(finding.message)

    def log(self) -> None:
        """One line for each kind of warning: how many, and the first few."""
        for name, messages in self._warnings.items():
            more = f"; and {len(messages) - self._shown} more" if len(messages) > self._shown else ""
            get_logger().warning(f"{len(messages)} x {name}: {'; '.join(messages[: self._shown])}{more}")
        self._warnings.clear()
