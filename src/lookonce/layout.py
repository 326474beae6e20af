"""How the text of a result is laid out: for a file 80 columns wide and plain, for a terminal as wide as it is."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from lookonce.shown import shown_lines

if TYPE_CHECKING:
    from rich.console import RenderableType


class Styled(str):
    """A line with the escape sequences of its style; what else would act on a terminal is written out in it."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where text will be shown. width: columns, to which tables are fitted; is_terminal: bold and colours are shown."""

    width: int = 80
    is_terminal: bool = False

    def lines(self, part: "RenderableType", *, least_width: int = 0) -> Iterator[str]:
        """The lines of one of Rich's tables or texts; least_width: columns, also where the terminal is narrower."""
        from rich.console import Console
        from rich.segment import Segment, Segments

        text = StringIO()
        width = max(self.width, least_width)
        console = Console(file=text, width=width, force_terminal=self.is_terminal, force_jupyter=False, highlight=False)
        harmless = [Segment(shown_lines(segment.text), segment.style) for segment in console.render(part)]
        console.print(Segments(harmless), end="")
        yield from map(Styled, text.getvalue().splitlines())


PLAIN = Layout()


class InNotebooks:
    """A result that IPython and notebooks show as `str()` does."""

    def __init_subclass__(cls) -> None:
        # IPython takes the first class that has this or a __repr__, and a dataclass has a __repr__ of its own.
        cls._repr_pretty_ = InNotebooks._repr_pretty_  # type: ignore[method-assign]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("..." if cycle else str(self))


class Printed(InNotebooks):
    """The result of a verb: `str()` gives the lines that its command prints, made by `as_text` of its module."""

    def __str__(self) -> str:
        return "\n".join(sys.modules[type(self).__module__].as_text(self))
