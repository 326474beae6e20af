"""The live table on a terminal during training: the latest epochs, the current one, and the remaining time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lookonce.shown import percent, three_digits

NUM_EPOCHS = 8  # shown; all are in metrics.csv
BAR_WIDTH = 28
# Heading, column of the metrics table, how a number is shown.
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("epoch", "epoch", "{:.0f}".format),
    ("loss", "loss", "{:.3f}".format),
    ("box", "box", "{:.3f}".format),
    ("objectness", "objectness", "{:.3f}".format),
    ("classes", "classes", "{:.3f}".format),
    ("lr", "lr", "{:.2g}".format),
    ("images/s", "images_per_second", "{:.1f}".format),
    ("waiting", "waiting_share", percent),
    ("memory", "memory_mb", "{:,.0f} MB".format),
    ("AP", "AP", three_digits),
    ("AP50", "AP50", three_digits),
)


@dataclass
class LiveTable:
    """Content of the table; the next refresh shows a changed attribute.

    rows: the metrics table so far; current: the same columns for the current epoch, empty between epochs; doing: title
    of the progress bar ("": no bar); done, total: its counts (total None: unknown); left: the remaining time as text.
    """

    rows: Sequence[Mapping[str, float]] = ()
    current: Mapping[str, float] = field(default_factory=dict)
    doing: str = ""
    done: int = 0
    total: int | None = None
    left: str = ""

    def __rich__(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")  # 80 columns
        for heading, _, _ in COLUMNS:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows[-NUM_EPOCHS:]:
            table.add_row(*cells(row), style="dim" if self.current else "")
        if self.current:
            table.add_row(*cells(self.current))
        if not self.doing:
            return table
        line = Table.grid(padding=(0, 1))
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        bar = ProgressBar(total=self.total, completed=self.done, width=BAR_WIDTH, pulse=self.total is None)
        line.add_row(Text(self.doing), bar, Text(count), Text(self.left, style="bold"))
        return Group(table, line)


def cells(row: Mapping[str, float]) -> list[str]:
    """The formatted values of a row. Epochs are shown from 1; an epoch without evaluation has empty AP cells."""
    shown = {**row, "epoch": row["epoch"] + 1}
    return [text_of(shown[name]) if name in shown else "" for _, name, text_of in COLUMNS]
