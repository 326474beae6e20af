"""The section that explains the score: error types, groups of objects, curves and the confusion matrix (a table)."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lookonce.reports.content import Content
from lookonce.reports.elements import (
    bar_card,
    card,
    cell,
    count,
    fraction,
    heads,
    line_card,
    number,
    table,
    table_card,
)
from lookonce.reports.plots import Series
from lookonce.shown import percent

# Error type -> its definition in words.
ERROR_WORDS = {
    "localisation": "correct class, but IoU with the object below 0.5",
    "class": "IoU of at least 0.5, but with an object of another class",
    "both": "wrong class, and IoU below 0.5",
    "duplicate": "another box on an object that is already matched",
    "background": "no labelled object there",
    "undetected": "objects that no detection matches or almost matches, whatever its score (TIDE: missed)",
}
FIGURE_SPACE = "\u2007"  # as wide as a digit, so that the bars before the numbers begin in one column
MOST_LINES = 5  # maximum classes with a colour each; of more, the two best and the two worst have one
LARGEST_MATRIX = 25  # classes; a larger table does not fit a screen
LISTED_CONFUSIONS = 12


def error_analysis(content: Content) -> str:
    """Error types, groups, curves and confusion matrix; empty without an analysis."""
    analysis = content.analysis
    if not analysis:
        return ""
    parts = (_precision_recall, _over_thresholds, _score_histogram, _calibration)
    charts = "".join(part(analysis) for part in parts)
    curves = f'<h3 class="above">Curves, at IoU 0.5</h3><div class="grid">{charts}</div>'
    return _split(analysis) + _groups(analysis) + curves + _confusion(content)


def _split(analysis: Mapping[str, Any]) -> str:
    found: Mapping[str, Mapping[str, float]] = analysis["errors"]
    most = max((error["AP50"] for error in found.values()), default=0.0) or 1.0
    rows = []
    for kind, error in sorted(found.items(), key=lambda item: -item[1]["AP50"]):
        gain, words = error["AP50"], f"<span class=faint>{escape(ERROR_WORDS[kind])}</span>"
        bar = f'<span class="meter wide"><i style="width:{max(100 * gain / most, 0):.0f}%"></i></span>'
        points = number(bar + f"{100 * gain:5.1f}".replace(" ", FIGURE_SPACE), gain)
        rows.append(f"<td><b>{escape(kind)}</b><br>{words}</td>{count(error['count'])}{points}")
    return (
        "<p>Six error types at IoU 0.5 (TIDE), and the points of AP50 (0 to 100) that repairing one type alone would "
        "add. The points do not add up. Detections of all scores count.</p>"
        f"{table_card(rows, head=heads('error', 'count', 'AP50 points', words=['error']))}"
    )


def _groups(analysis: Mapping[str, Any]) -> str:
    cards = ""
    for grouping in analysis["groups"].values():
        rows = [
            cell(group["name"])
            + count(group["num_objects"])
            + fraction(group["AP50"], meter=True)
            + fraction(group["recall"])
            for group in grouping["groups"]
        ]
        title = grouping["title"]
        cards += table_card(rows, head=heads(title, "objects", "AP50", "recall at IoU 0.5", words=[title]))
    words = "Recall at IoU 0.5: objects matched by a detection of their class, of any score; mean over the classes."
    return f'<h3 class="above">AP50 by group</h3><p>{words}</p><div class="grid">{cards}</div>'


def _precision_recall(analysis: Mapping[str, Any]) -> str:
    """A line for each class, and their mean."""
    curves, recalls = analysis["curves"], analysis["recalls"]
    known = {name: curves[name]["precision_at_recall"] for name in _with_objects(curves)}
    best_first = sorted(known, key=lambda name: -sum(known[name]))
    named = best_first if len(known) <= MOST_LINES else [*best_first[:2], *best_first[-2:]]

    def line(name: str, precision: Sequence[float], color: int, *, thin: bool = False) -> Series:
        """It ends at the first recall that no detection reaches."""
        end = next((place for place, value in enumerate(precision) if value <= 0), len(precision))
        return Series(name=name, points=list(zip(recalls, precision, strict=False))[: end + 1], color=color, thin=thin)

    others = [line(name, known[name], 6, thin=True) for name in best_first if name not in named]
    mean = [sum(column) / len(column) for column in zip(*known.values(), strict=True)]
    shown = [line("all classes", mean, 6)]
    if len(known) > 1:
        shown += [line(name, known[name], place) for place, name in enumerate(named, start=1)]
    note = "The area under a line is its AP50." + (f" Thin lines: the other {len(others)} classes." if others else "")
    lines, x_label = [*others, *shown], "recall at IoU 0.5"
    return line_card(
        "Precision-recall curve", lines, note, x_label=x_label, y_label="precision", y_high=1.0, x_range=(0, 1)
    )


def _over_thresholds(analysis: Mapping[str, Any]) -> str:
    """Precision only where there are detections: of each class, and at all."""
    curves, thresholds = analysis["curves"], analysis["thresholds"]
    chosen = _with_objects(curves)
    series = []
    for color, (part, words) in enumerate((("precision", "precision"), ("recall", "recall"), ("f1", "F1")), start=1):
        columns = zip(thresholds, zip(*(curves[name][part] for name in chosen), strict=True), strict=False)
        known = [(at, [value for value in values if value >= 0]) for at, values in columns]
        points = [(at, sum(values) / len(values)) for at, values in known if values]
        series.append(Series(name=words, points=points, color=color))
    note = (
        "Means over the classes; precision over those with detections at the threshold, and it ends with the last "
        "detection. The table of classes has the threshold with the highest F1 of each class."
    )
    title, x_label = "Precision, recall and F1 over the confidence threshold", "confidence threshold"
    return line_card(title, series, note, x_label=x_label, y_label="at IoU 0.5, 0 to 1", y_high=1.0, x_range=(0, 1))


def _score_histogram(analysis: Mapping[str, Any]) -> str:
    scores = analysis["scores"].values()
    right, wrong = ([sum(n) for n in zip(*(one[kind] for one in scores), strict=True)] for kind in ("right", "wrong"))
    labels = [f"{place / len(right):.2f}" for place in range(1, len(right))]
    if not any((*right[1:], *wrong[1:])):  # every score is below the first bar
        return ""
    series = [("true positives", right[1:], 3), ("false positives", wrong[1:], 2)]
    note = f"Not drawn: {right[0]:,} true and {wrong[0]:,} false positives with a score under 0.05." if right else ""
    axes = {"x_label": "score, from", "y_label": "detections"}
    return bar_card("Scores of true and false positives", labels, series, note, **axes)


def _calibration(analysis: Mapping[str, Any]) -> str:
    known = analysis["calibration"]
    labels = [f"{place / len(known['counts']):.1f}" for place in range(len(known["counts"]))]
    series = [
        ("score", [max(value, 0.0) for value in known["mean_scores"]], 1),
        ("precision", [max(value, 0.0) for value in known["precision"]], 3),
    ]
    axes = {"x_label": "score, from", "y_label": "mean of the bin, 0 to 1"}
    return bar_card("Calibration of the scores", labels, series, calibration_note(known), **axes)


def calibration_note(known: Mapping[str, Any]) -> str:
    """The error, and the same without the first bin: nearly all detections are there, and its two bars are low."""
    counts, bars = known["counts"], zip(known["mean_scores"], known["precision"], strict=True)
    gaps = [number * abs(score - precision) for number, (score, precision) in zip(counts, bars, strict=True)]
    note = (
        "With calibrated scores, score and precision are equal. Expected calibration error, the mean difference of the "
        f"two bars over all detections: {known['error']:.3f}."
    )
    if counts[0] and sum(counts[1:]):
        note += (
            f" The first bin has {percent(counts[0] / sum(counts))} of the detections; without it the error is "
            f"{sum(gaps[1:]) / sum(counts[1:]):.3f}."
        )
    return note


def _confusion(content: Content) -> str:
    confusion = content.analysis["confusion"]
    names, counts = confusion["classes"], confusion["counts"]
    if len(names) < 2:
        return ""
    title, words, body = "Most frequent confusions", "", _list_of_confusions(names, counts)
    if len(names) <= LARGEST_MATRIX + 1:
        title, body = "Confusion matrix", _matrix(names, counts)
        words = (
            " Rows: ground truth; columns: predictions. Each cell: percent of its row, then the count. An object that "
            "is not on the diagonal is missed: detected as another class, or (last column) not at all. The last row "
            "counts the other false positives."
        )
    intro = f"<p>Detections from {escape(content.shown_from)} up.{words}</p>"
    return f'<h3 class="above">{title}</h3>{intro}{card(body, scroll=True)}'


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    rows = []
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        total, cells = max(sum(row), 1), f'<th scope="row">{escape(name)}</th>'
        for column, value in enumerate(row):
            kind = "good" if column == place else "bad"
            html = f'{percent(value / total)}<small class="interval">{value:,}</small>' if value else ""
            cells += f'<td class="number {kind}" style="--part:{value / total:.2f}">{html}</td>'
        rows.append(cells)
    return table(rows, head=heads("", *names, words=[""]), kind="matrix")


def _list_of_confusions(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The most frequent pairs of classes, if there are too many classes for a matrix."""
    nothing = len(names) - 1
    pairs = [
        (number, names[row], names[column])
        for row, line in enumerate(counts)
        for column, number in enumerate(line)
        if number and row != column and nothing not in (row, column)
    ]
    pairs.sort(key=lambda pair: -pair[0])
    head = heads("ground truth", "predicted", "count", words=["ground truth", "predicted"])
    rows = [cell(row) + cell(column) + count(number) for number, row, column in pairs[:LISTED_CONFUSIONS]]
    return table(rows, head=head) if rows else "<p>No object was detected as another class.</p>"


def _with_objects(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Classes with objects in the scored images."""
    return [name for name, curve in curves.items() if curve["best_f1"] >= 0]
