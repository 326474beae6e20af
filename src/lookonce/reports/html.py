"""The report: one self-contained HTML file for phones and large screens, with a light and a dark theme."""

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from lookonce.reports import comparison, error_analysis_page, sections
from lookonce.reports.content import Content
from lookonce.settings.names import few
from lookonce.storage import write_file

# Heading, anchor and function of each section, in the order of the page; empty sections are omitted.
SECTIONS: tuple[tuple[str, str, Callable[[Content], str]], ...] = (
    ("Summary", "short", sections.summary),
    ("Scores", "scores", sections.metrics_table),
    ("Classes", "classes", sections.class_table),
    ("Images", "images", sections.images),
    ("Errors", "errors", error_analysis_page.error_analysis),
    ("Worst images", "worst", sections.worst),
    ("Predictions of other weights", "predicted", sections.predicted),
    ("Training", "training", sections.curves),
    ("Data", "data", sections.data_card),
    ("Exported files", "exported", sections.exported_files),
    ("Settings", "settings", sections.settings_table),
    ("Environment", "machine", sections.facts),
    ("Commands", "again", sections.commands),
)


def write_report(path: Path, content: Content) -> Path:
    """Writes the page, replacing an existing one; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, render(content))
    return path


def write_plots(folder: Path, content: Content) -> list[Path]:
    """Writes the curves of the run as SVG files into `folder`; returns their paths."""
    files = sections.curve_files(content)
    if files:
        folder.mkdir(parents=True, exist_ok=True)
    for name, svg in files.items():
        write_file(folder / name, svg)
    return [folder / name for name in files]


def render(content: Content) -> str:
    """The page as HTML. Its scripts, styles and images are embedded; its Content-Security-Policy forbids others."""
    parts = [(title, anchor, make(content)) for title, anchor, make in SECTIONS]
    return fill_page(title=content.title, lead=lead(content), tiles=sections.tiles(content), parts=parts)


def write_comparison(path: Path, title: str, runs: Sequence[comparison.Compared]) -> Path:
    """Writes the page that shows several runs side by side; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [(heading, anchor, make(runs)) for heading, anchor, make in comparison.SECTIONS]
    words = f"{len(runs)} runs side by side; differences are relative to the first, '{runs[0].name}'."
    write_file(path, fill_page(title=title, lead=words, tiles=comparison.tiles(runs), parts=parts))
    return path


# A browser may load only the images, styles and scripts embedded in the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
FOOTER = "Written by lookonce. This page is self-contained: it loads nothing from the network."


def fill_page(
    *,
    title: str,
    lead: str,
    tiles: str,
    parts: Sequence[tuple[str, str, str]],
    policy: str = POLICY,
    script: str = "page.js",
    footer: str = FOOTER,
) -> str:
    """A whole page. tiles: HTML under the title; parts: heading, anchor and HTML of each section, omitted if empty.

    policy: its Content-Security-Policy; script: file of this package; footer: HTML.
    """
    parts = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for heading, anchor, _ in parts)
    body = "".join(f'<section id="{anchor}"><h2>{heading}</h2>{html}</section>' for heading, anchor, html in parts)
    return PAGE.format(
        policy=policy,
        title=escape(title),
        style=_asset("page.css"),
        script=_asset(script),
        lead=escape(lead),
        tiles=tiles,
        links=links,
        body=body,
        footer=footer,
    )


def lead(content: Content) -> str:
    """The sentence under the title."""
    record = content.run.record
    if record is None:
        return f"A run of lookonce in {content.run.folder}."
    names = [f"'{name}'" for name in record.class_names]
    return f"YOLOv3-Tiny, trained to detect {few(names)}."


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">{lead}</p>
{tiles}
<nav aria-label="Sections">{links}</nav>
{body}
<footer>{footer}</footer>
</main>
<script>
{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (resources.files("lookonce.reports") / name).read_text(encoding="utf-8")
