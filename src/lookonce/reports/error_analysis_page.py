"""The section that explains the score: error types, groups of objects, curves and the confusion matrix (a table)."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lookonce.reports.content import Content
from lookonce.reports.elements import card, cell, chart_card, count, fraction, head_cell, legend, table
from lookonce.reports.plots import Series, bar_chart, line_chart

# Error type -> its definition in words.
ERROR_WORDS = {
    "localisation": "correct class, but IoU with the object below 0.5",
    "class": "IoU of at least 0.5, but with an object of another class",
    "both": "wrong class, and IoU below 0.5",
    "duplicate": "another box on an object that is already matched",
    "background": "no labelled object there",
    "undetected": "objects that no detection matches or almost matches, whatever its score (TIDE: missed)",
}
MOST_LINES = 5  # maximum classes with a colour each; of more, the two best and the two worst have one
LARGEST_MATRIX = 25  # classes; a larger table does not fit a screen
LISTED_CONFUSIONS = 12


def error_analysis(content: Content) -> str:
    """Error types, groups, curves and confusion matrix; empty without an analysis."""
    analysis = content.analysis
    if not analysis:
        return ""
    parts = [_split(analysis), _groups(analysis), _charts(analysis), _confusion(content)]
    return "".join(parts)


def _split(analysis: Mapping[str, Any]) -> str:
    found: Mapping[str, Mapping[str, float]] = analysis["errors"]
    most = max((error["AP50"] for error in found.values()), default=0.0)
    rows = [
        f"<td><b>{escape(kind)}</b><br><span class=faint>{escape(ERROR_WORDS[kind])}</span></td>"
        + count(error["count"])
        + _points(error["AP50"], most)
        for kind, error in sorted(found.items(), key=lambda item: -item[1]["AP50"])
    ]
    head = head_cell("error", number=False) + head_cell("count", number=True) + head_cell("AP50 points", number=True)
    return (
        "<p>Six error types at IoU 0.5 (TIDE), and the points of AP50 (0 to 100) that repairing one type alone would "
        "add. The points do not add up. Detections of all scores count.</p>"
        f"{card(table(rows, head=head), scroll=True)}"
    )


def _points(gain: float, most: float) -> str:
    width = 100 * gain / most if most > 0 else 0
    bar = f'<span class="meter wide"><i style="width:{width:.0f}%"></i></span>'
    return f'<td class="number" data-value="{gain}">{bar}{100 * gain:.1f}</td>'


def _groups(analysis: Mapping[str, Any]) -> str:
    """A small table for each grouping of the objects."""
    cards = []
    for grouping in analysis["groups"].values():
        rows = [
            cell(group["name"])
            + count(group["num_objects"])
            + fraction(group["AP50"], meter=True)
            + fraction(group["recall"])
            for group in grouping["groups"]
        ]
        head = "".join(
            head_cell(name, number=name != grouping["title"])
            for name in (grouping["title"], "objects", "AP50", "recall at IoU 0.5")
        )
        cards.append(card(table(rows, head=head), scroll=True))
    words = "Recall at IoU 0.5: objects matched by a detection of their class, of any score; mean over the classes."
    return f'<h3 class="above">AP50 by group</h3><p>{words}</p><div class="grid">{"".join(cards)}</div>'


def _charts(analysis: Mapping[str, Any]) -> str:
    """Precision-recall curves, curves over the threshold, score histogram, calibration."""
    charts = [
        _precision_recall(analysis),
        _over_thresholds(analysis),
        _score_histogram(analysis),
        _calibration(analysis),
    ]
    return f'<h3 class="above">Curves, at IoU 0.5</h3><div class="grid">{"".join(charts)}</div>'


def _precision_recall(analysis: Mapping[str, Any]) -> str:
    """A line for each class, and their mean."""
    curves, recalls = analysis["curves"], analysis["recalls"]
    known = {name: curves[name]["precision_at_recall"] for name in _with_objects(curves)}
    best_first = sorted(known, key=lambda name: -sum(known[name]))
    named = best_first if len(known) <= MOST_LINES else [*best_first[:2], *best_first[-2:]]
    series = [_until_zero(name, recalls, known[name], 6, thin=True) for name in best_first if name not in named]
    mean = _mean(list(known.values()))
    shown = [_until_zero("all classes", recalls, mean, 6)]
    if len(known) > 1:
        shown += [_until_zero(name, recalls, known[name], place) for place, name in enumerate(named, start=1)]
    title = "Precision-recall curve"
    chart = line_chart(
        title, [*series, *shown], x_label="recall at IoU 0.5", y_label="precision", y_high=1.0, x_range=(0, 1)
    )
    note = "The area under a line is its AP50."
    if series:
        note += f" Thin lines: the other {len(series)} classes."
    return chart_card(title, chart, names=_names(shown), note=note)


def _until_zero(
    name: str, recalls: Sequence[float], precision: Sequence[float], color: int, *, thin: bool = False
) -> Series:
    """The line ends at the first recall that no detection reaches."""
    end = next((place for place, value in enumerate(precision) if value <= 0), len(precision))
    return Series(name=name, points=list(zip(recalls, precision, strict=False))[: end + 1], color=color, thin=thin)


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
    title = "Precision, recall and F1 over the confidence threshold"
    note = (
        "Means over the classes; precision over those with detections at the threshold, and it ends with the last "
        "detection. The table of classes has the threshold with the highest F1 of each class."
    )
    chart = line_chart(
        title, series, x_label="confidence threshold", y_label="at IoU 0.5, 0 to 1", y_high=1.0, x_range=(0, 1)
    )
    return chart_card(title, chart, names=_names(series), note=note)


def _score_histogram(analysis: Mapping[str, Any]) -> str:
    right = _sum([scores["right"] for scores in analysis["scores"].values()])
    wrong = _sum([scores["wrong"] for scores in analysis["scores"].values()])
    labels = [f"{place / len(right):.2f}" for place in range(1, len(right))]
    names = ("true positives", "false positives")
    series = [(names[0], [float(n) for n in right[1:]], 3), (names[1], [float(n) for n in wrong[1:]], 2)]
    title = "Scores of true and false positives"
    note = f"Not drawn: {right[0]:,} true and {wrong[0]:,} false positives with a score under 0.05." if right else ""
    chart = bar_chart(title, labels, series, x_label="score, from", y_label="detections")
    return chart_card(title, chart, names=legend([(names[0], 3), (names[1], 2)]), note=note)


def _calibration(analysis: Mapping[str, Any]) -> str:
    known = analysis["calibration"]
    counts = known["counts"]
    labels = [f"{place / len(counts):.1f}" for place in range(len(counts))]
    series = [
        ("score", [max(value, 0.0) for value in known["mean_scores"]], 1),
        ("precision", [max(value, 0.0) for value in known["precision"]], 3),
    ]
    title = "Calibration of the scores"
    chart = bar_chart(title, labels, series, x_label="score, from", y_label="mean of the bin, 0 to 1")
    note = f"With calibrated scores, score and precision are equal. Expected calibration error: {known['error']:.3f}."
    return chart_card(title, chart, names=legend([("score", 1), ("precision", 3)]), note=note)


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
    return (
        f'<h3 class="above">{title}</h3><p>Detections from {escape(content.shown_from)} up.{words}</p>'
        f"{card(body, scroll=True)}"
    )


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    head = head_cell("", number=False) + "".join(head_cell(name, number=True) for name in names)
    rows = []
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(_matrix_cell(number, total, right=column == place) for column, number in enumerate(row))
        rows.append(f'<th scope="row">{escape(name)}</th>{cells}')
    return table(rows, head=head, kind="matrix")


def _matrix_cell(number: int, total: int, *, right: bool) -> str:
    kind = "good" if right else "bad"
    words = f'{100 * number / total:.0f} %<small class="interval">{number:,}</small>' if number else ""
    return f'<td class="number {kind}" style="--part:{number / total:.2f}">{words}</td>'


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
    head = "".join(head_cell(name, number=name == "count") for name in ("ground truth", "predicted", "count"))
    rows = [cell(row) + cell(column) + count(number) for number, row, column in pairs[:LISTED_CONFUSIONS]]
    return table(rows, head=head) if rows else "<p>No object was detected as another class.</p>"


def _with_objects(curves: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Classes with objects in the scored images."""
    return [name for name, curve in curves.items() if curve["best_f1"] >= 0]


def _names(series: Sequence[Series]) -> str:
    return legend((line.name, line.color) for line in series) if len(series) > 1 else ""


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Mean of each column; empty without rows."""
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


def _sum(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]
