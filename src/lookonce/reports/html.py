"""The HTML of a report, self-contained, in a light and a dark theme; workflows/report.py writes it as report.html."""

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from lookonce.reports import comparison, error_analysis_page, sections
from lookonce.reports.content import Content
from lookonce.reports.data_section import data_section
from lookonce.reports.elements import command_block
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
    ("Data", "data", lambda content: data_section(content.datasets)),
    ("Exported files", "exported", sections.exported_files),
    ("Settings", "settings", sections.settings_table),
    ("Environment", "machine", sections.facts),
    ("Commands", "again", lambda content: command_block(content.commands)),
)


def write_plots(folder: Path, content: Content) -> list[Path]:
    """Writes the curves of the run as SVG files into `folder`; returns their paths."""
    files = sections.curve_files(content)
    for name, svg in files.items():
        write_file(folder / name, svg)
    return [folder / name for name in files]


def render(content: Content) -> str:
    """The page of one run. Its scripts, styles and images are embedded; its Content-Security-Policy forbids others."""
    record, parts = content.run.record, [(title, anchor, make(content)) for title, anchor, make in SECTIONS]
    lead = f"A run of lookonce in {content.run.folder}."
    if record is not None:
        names = few([f"'{name}'" for name in record.class_names])
        lead = f"YOLOv3-Tiny, trained to detect {names}."
    return fill_page(title=content.title, lead=lead, tiles=sections.tiles(content), parts=parts)


def render_comparison(title: str, runs: Sequence[comparison.Compared]) -> str:
    parts = [(heading, anchor, make(runs)) for heading, anchor, make in comparison.SECTIONS]
    lead = f"{len(runs)} runs side by side; differences are relative to the first, '{runs[0].name}'."
    return fill_page(title=title, lead=lead, tiles=comparison.tiles(runs), parts=parts)


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
    parts, files = [part for part in parts if part[2]], resources.files("lookonce.reports")
    return PAGE.format(
        policy=policy,
        title=escape(title),
        style=(files / "page.css").read_text(encoding="utf-8"),
        script=(files / script).read_text(encoding="utf-8"),
        lead=escape(lead),
        tiles=tiles,
        links="".join(f'<a href="#{anchor}">{heading}</a>' for heading, anchor, _ in parts),
        body="".join(f'<section id="{anchor}"><h2>{heading}</h2>{html}</section>' for heading, anchor, html in parts),
        footer=footer,
    )


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
