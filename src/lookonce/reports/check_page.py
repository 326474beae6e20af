"""The findings of `lookonce check` as one HTML page with images, in the style of the report."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from pathlib import Path

from lookonce.colors import css_class_color
from lookonce.data.check import CheckResult
from lookonce.data.dataset import Dataset
from lookonce.data.finding_kinds import FINDING_KINDS
from lookonce.data.findings import Finding
from lookonce.data.images import read_image
from lookonce.data.selection import even_choice
from lookonce.errors import DataError
from lookonce.reports.advice import Advice
from lookonce.reports.data_section import data_section
from lookonce.reports.elements import card, cell, command_block, count, heads, line_card, number, table_card, tiles
from lookonce.reports.html import fill_page
from lookonce.reports.images import Tag, data_uri, figure, photo, tags_over
from lookonce.reports.plots import Series
from lookonce.settings.names import counted
from lookonce.shown import percent

COLUMNS, WORDS = ("severity", "check", "count", "finding"), ("severity", "check", "finding")
MOST_IMAGES = 6  # per check
MOST_MESSAGES = 200
SHOWN_SIDE = 400  # pixels
ORDINARY_IMAGES = 12
MOST_NAMES = 40  # of an image
# The box of a finding is white, which is the colour of no class; its dark edges show it on a white ground.
MEANT, MEANT_EDGE = "#ffffff", "#101010"
SMALL_SHARE = 0.06  # of the longer image side; a smaller box gets a ring, to be visible


@dataclass(frozen=True, kw_only=True)
class CheckPage:
    """Content of the page. changes: what the corrected copy changes; commands: shell commands to repeat the check."""

    title: str
    result: CheckResult
    advice: Advice | None = None
    changes: Sequence[str] = ()
    commands: Sequence[str] = ()


def render_check(page: CheckPage) -> str:
    album = _Album(page.result.datasets)
    parts = [
        ("Findings", "found", _overview(page.result)),
        ("Details", "findings", _details(page.result, album)),
        ("Labelled images", "labelled", _ordinary(page.result, album)),
        ("Image size", "size", _advice(page.advice)),
        ("Data", "data", data_section([data for data in page.result.datasets if data.class_names and len(data)])),
        ("Changes in the corrected copy", "changes", _messages(page.changes)),
        ("All checks", "checks", _all_checks(page.result)),
        ("Commands", "again", command_block(page.commands)),
    ]
    return fill_page(
        title=page.title,
        lead=verdict(page.result),
        tiles=_tiles(page.result),
        parts=parts,
    )


def verdict(result: CheckResult) -> str:
    """One sentence: whether the data set is ready for training."""
    if result.num_errors:
        return "Training cannot use this data set yet: fix the errors below first."
    if result.count("warning"):
        return "Training can use this data set, but review the warnings below first."
    return "The data set is ready for training."


def _tiles(result: CheckResult) -> str:
    num_boxes = sum(len(dataset.labels) for dataset in result.datasets if dataset.split != "trainval")
    numbers = {"image": result.num_images, "box": num_boxes, "class": len(result.class_names)}
    numbers |= {severity: result.count(severity) for severity in ("error", "warning", "note")}
    words = (counted(number, noun).partition(" ") for noun, number in numbers.items())
    return tiles((value, noun) for value, _, noun in words)


def _chip(name: str) -> str:
    severity = FINDING_KINDS[name].severity
    return f'<span class="chip {severity}">{severity}</span>'


def _overview(result: CheckResult) -> str:
    rows = [
        f"<td>{_chip(name)}</td>"
        f'<td class="name"><a href="#{name}">{name}</a></td>'
        + count(len(list(group)))
        + cell(FINDING_KINDS[name].finds)
        + f'<td class="wide">{escape(FINDING_KINDS[name].advice)}</td>'
        for name, group in groupby(result.sorted_findings, key=lambda found: found.name)
    ]
    if not rows:
        return card("<p>None: every check passed.</p>")
    head = heads(*COLUMNS, words=WORDS) + '<th scope="col" class="wide">what to do</th>'
    return table_card(rows, head=head)


def _ordinary(result: CheckResult, album: "_Album") -> str:
    """Images evenly spaced over the splits, with their labels, to see whether the boxes and classes are right."""
    paths = dict.fromkeys(str(path) for dataset in result.datasets for path in dataset.image_paths)
    chosen = [list(paths)[row] for row in even_choice(len(paths), ORDINARY_IMAGES).tolist()]
    figures = "".join(map(album.figure, chosen))
    return f'<div class="gallery">{figures}</div>' if figures and result.class_names else ""


def _details(result: CheckResult, album: "_Album") -> str:
    blocks = []
    for name, group in groupby(result.sorted_findings, key=lambda found: found.name):
        findings, kind = list(group), FINDING_KINDS[name]
        figures = "".join(album.figures(findings[:MOST_IMAGES]))
        gallery = f'<div class="gallery">{figures}</div>' if figures else ""
        words = (
            f"{text[0].upper()}{text[1:]}{'' if text.endswith(('?', '...')) else '.'}"
            for text in (kind.finds, kind.advice)
        )
        blocks.append(
            f'<div class="card finding" id="{name}"><h3>{_chip(name)} {name}</h3>'
            f'<p class="note">{escape(" ".join(words))}</p>'
            f"{gallery}{_messages([finding.message for finding in findings])}</div>"
        )
    html = "".join(blocks)
    legend = '<p class="note">A thick white frame or ring: the box of the finding.</p>'
    return legend + html if f"stroke:{MEANT};" in html else html


def _messages(messages: Sequence[str]) -> str:
    """The messages, folded if there are more than four."""
    if not messages:
        return ""
    items = "".join(f"<li>{escape(message)}</li>" for message in messages[:MOST_MESSAGES])
    more = len(messages) - MOST_MESSAGES
    items += f"<li>and {more:,} more</li>" if more > 0 else ""
    shown = f'<ul class="messages">{items}</ul>'
    return shown if len(messages) <= 4 else f"<details><summary>{len(messages):,} messages</summary>{shown}</details>"


@dataclass
class _Album:
    """Images of the findings, with their boxes; images that cannot be read are omitted."""

    datasets: Sequence[Dataset]
    _rows: dict[str, tuple[Dataset, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._rows = {
            str(path): (dataset, row)
            for dataset in reversed(self.datasets)
            for row, path in reversed(list(enumerate(dataset.image_paths)))
        }

    def figures(self, findings: Iterable[Finding]) -> Iterator[str]:
        for finding in findings:
            for file in dict.fromkeys((finding.file, *([finding.twin] if finding.twin else []))):
                yield self.figure(file, finding)

    def figure(self, file: str, finding: Finding | None = None) -> str:
        """The image with its labels, and with the box of the finding if that is in it; "" if it cannot be read."""
        if file not in self._rows:
            return ""
        try:
            image = read_image(Path(file))
        except DataError:
            return ""
        dataset, row = self._rows[file]
        height, width = image.shape[:2]
        meant = finding.box_xyxy if finding is not None and file == finding.file else None
        view = _view(meant, width, height)
        body = _outline(view, "fill:#777")  # around the image
        body += f'<image href="{data_uri(image, longest_side=SHOWN_SIDE)}" width="{width}" height="{height}"/>'
        frames, tags = _labels(dataset, row, (height, width))
        if finding is not None and meant is not None:
            seen = (*_within(meant[:2], view), *_within(meant[2:], view))  # of a box far outside, the edge towards it
            frames += _meant_frame(seen, max(width, height))
            tags = [*([Tag(name=finding.tag, box_xyxy=meant, color=MEANT)] if finding.tag else []), *tags]
        body += frames + tags_over(tags, (height, width))
        name = Path(file).name
        shown = photo(body, view, name)
        return figure(shown, name, f"{dataset.split}, {width}×{height}", kind="")


def _labels(dataset: Dataset, row: int, size_hw: tuple[int, int]) -> tuple[str, list[Tag]]:
    """The boxes of an image in the colours of their classes, and their names unless there are too many to be read."""
    rows = dataset.rows(row)
    labelled = list(zip(dataset.boxes_xyxy[rows].tolist(), dataset.labels[rows].tolist(), strict=True))
    frames = [_frame(box, max(size_hw), css_class_color(label)) for box, label in labelled]
    names = dataset.class_names
    tags = [Tag(name=names[label], box_xyxy=box, color=css_class_color(label), fit=True) for box, label in labelled]
    return "".join(frames), tags if len(labelled) <= MOST_NAMES else []


def _frame(box_xyxy: Iterable[float], side: int, color: str) -> str:
    """A box as SVG."""
    return _outline(box_xyxy, f"fill:none;stroke:{color};stroke-width:{side / 240:.1f}")


def _meant_frame(box_xyxy: tuple[float, float, float, float], side: int) -> str:
    """The box of the finding as SVG, drawn thick, with a ring around it if it is small."""
    left, top, right, bottom = box_xyxy
    frame = ""
    for color, line in ((MEANT_EDGE, side / 64), (MEANT, side / 130)):
        style = f"fill:none;stroke:{color};stroke-width:{line:.1f}"
        frame += _outline(box_xyxy, style)
        if max(abs(right - left), abs(bottom - top)) < SMALL_SHARE * side:
            center = f'cx="{(left + right) / 2:.1f}" cy="{(top + bottom) / 2:.1f}"'
            frame += f'<circle {center} r="{2 * SMALL_SHARE * side:.1f}" style="{style}"/>'
    return frame


def _outline(box_xyxy: Iterable[float], style: str) -> str:
    left, top, right, bottom = box_xyxy  # a path, because browsers do not draw a rectangle without area
    return f'<path d="M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z" style="{style}"/>'


def _view(
    meant: tuple[float, float, float, float] | None, width: int, height: int
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the image, extended to a box that reaches outside, by at most half an image."""
    if meant is None:
        return 0, 0, width, height
    x, y = sorted(meant[0::2]), sorted(meant[1::2])
    left, top = max(min(0, x[0]), -width / 2), max(min(0, y[0]), -height / 2)
    return left, top, min(max(width, x[1]), 1.5 * width), min(max(height, y[1]), 1.5 * height)


def _within(point: tuple[float, float], view: tuple[float, float, float, float]) -> tuple[float, float]:
    return min(max(point[0], view[0]), view[2]), min(max(point[1], view[1]), view[3])


def _advice(advice: Advice | None) -> str:
    if advice is None:
        return ""
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in advice.words)
    rows = []
    for row in advice.rows:
        size = f"<b>{row.image_size}</b>" if row.image_size == advice.image_size else str(row.image_size)
        shares = (row.tiny, row.recall_16, row.recall_32, row.recall, row.crowded)
        percents = "".join(number(percent(share), share) for share in shares)
        rows.append(number(size) + percents + number(f"{row.gflop:.1f}"))
    explained = (
        "Under 8 px: objects too small to keep much detail. Stride 16, stride 32, either: objects whose sides are "
        "within a factor of four of those of an anchor of that head (best possible recall). Crowded: objects that "
        "share cell and anchor with another object; only one of them can be detected. GFLOP: billions of operations of "
        "the network per image, at full width."
    )
    head = heads("size", "under 8 px", "stride 16", "stride 32", "either", "crowded", "GFLOP")
    lines = [
        Series(name=name, points=[(row.image_size, 100 * getattr(row, key)) for row in advice.rows], color=color)
        for name, key, color in (("under 8 px", "tiny", 2), ("crowded", "crowded", 1))
    ]
    chart = ""
    if any(y > 0 for line in lines for _, y in line.points):  # else the words and the table say that none is lost
        chart = line_card("Lost objects by image size", lines, x_label="image size, pixels", y_label="objects, %")
    note = f'<p class="note">{escape(explained)}</p>'
    return f'{words}<div class="pairs">{table_card(rows, head=head)}{chart}</div>{note}'


def _all_checks(result: CheckResult) -> str:
    found = Counter(finding.name for finding in result.findings)
    rows = [
        f"<td>{_chip(name)}</td>"
        + cell(name)
        + (count(found[name]) if name in result.checks else count(None))
        + cell(FINDING_KINDS[name].finds)
        + cell(FINDING_KINDS[name].fix or "–")
        for name in FINDING_KINDS
    ]
    shown = table_card(rows, head=heads(*COLUMNS, "with --fix", words=[*WORDS, "with --fix"]))
    return f"<details><summary>{len(FINDING_KINDS)} checks; a dash: not run</summary>{shown}</details>"
