"""The page of `lookonce monitor`: runs in progress with the curves of the report, one run over the other."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from lookonce.reports.comparison import Compared, curves
from lookonce.reports.content import Content, best_metrics, read_run
from lookonce.reports.elements import card, dot, tiles
from lookonce.reports.html import POLICY, fill_page
from lookonce.reports.images import jpeg_uri
from lookonce.shown import three_digits
from lookonce.storage import read_regular_file
from lookonce.training.run_folder import RunFolder

TILES = "tiles"
HEADINGS = {"training": "Training", "images": "Validation images", "log": "Log"}
LOG_LINES = 30
LOG_BYTES = 1 << 14
# The page asks its own server only.
LIVE_POLICY = POLICY.replace("img-src data:", "img-src 'self'; connect-src 'self'")


def live_page(title: str, parts: Mapping[str, str], *, is_live: bool) -> str:
    """The page as HTML. is_live: it replaces its parts by newer ones of its server; else it stays as it is."""
    places = {name: f'<div id="part-{name}">{html}</div>' for name, html in parts.items()}
    options = {"policy": LIVE_POLICY, "script": "live.js", "footer": LIVE_FOOTER} if is_live else {}
    return fill_page(
        title=title,
        lead="Curves, images and log of runs while they train." if is_live else "Runs as they stood.",
        tiles=places[TILES],
        parts=[(heading, name, places[name]) for name, heading in HEADINGS.items()],
        **options,
    )


LIVE_FOOTER = '<span id="state">Updated every two seconds, from this machine only.</span>'


def parts_of(folders: Mapping[str, Path], address_of: Callable[[Path], str]) -> dict[str, str]:
    """The HTML of each part, by name. folders: of the runs, by the name to show; address_of: image file -> its URL.

    DataError if a folder is no run.
    """
    runs, shown = [], []
    for color, (name, folder) in enumerate(folders.items(), start=1):
        run = read_run(folder)
        by = run.settings.get("best_metric", "AP")
        metrics = best_metrics(run.rows, by)
        runs.append(Compared(name=name, content=Content(title=name, run=run, metrics=metrics)))
        values = {"epochs": f"{len(run.rows)}/{run.settings.get('epochs', '?')}"}
        for metric in ("AP", "AP50"):
            words = f"best {metric}" if metric == by else f"{metric} at the best {by}"
            values[words] = three_digits(metrics.get(metric, -1))
        shown += [(value, f"{dot(color)}{words} of {escape(name)}") for words, value in values.items()]
    return {
        TILES: tiles(shown),
        "training": curves(runs) or "<p>No epoch is finished yet.</p>",
        "images": f'<div class="stack">{"".join(_images(run, address_of) for run in runs)}</div>',
        "log": "".join(
            f"<h3>{escape(run.name)}</h3><pre>{escape(log_end(run.content.run.folder))}</pre>" for run in runs
        ),
    }


def _images(run: Compared, address_of: Callable[[Path], str]) -> str:
    """The images of the newest evaluation; before the first one, those of the first batch."""
    folder = RunFolder(run.content.run.folder)
    sheets = {
        folder.validation_sheet: "ground truth, then predictions of the newest evaluation; errors have a red frame",
        folder.first_batch: "the first batch of training, as the network gets it",
    }
    shown = next((path for path in sheets if path.is_file()), None)
    if shown is None:
        return f"<h3>{escape(run.name)}</h3><p>No images yet.</p>"
    words = escape(f"{run.name}: {sheets[shown]}")
    return card(f'<h3>{words}</h3><img class="photo" src="{escape(address_of(shown))}" alt="{words}">')


def embedded(image: Path) -> str:
    return jpeg_uri(read_regular_file(image))


def log_end(folder: Path) -> str:
    """The last LOG_LINES lines of the log of a run; empty if there is none."""
    try:
        content = read_regular_file(RunFolder(folder).log)[-LOG_BYTES:]
    except FileNotFoundError:
        return ""
    return "\n".join(content.decode(errors="replace").splitlines()[-LOG_LINES:])
