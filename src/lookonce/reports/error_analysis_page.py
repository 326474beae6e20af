"""The section that explains the score: error types, groups of objects, curves and the confusion matrix."""

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
    "missed": "objects that no detection matches or almost matches",
}
MOST_LINES = 5  # maximum classes with a curve each; more are unreadable
LARGEST_MATRIX = 25  # classes; a larger table does not fit a screen
LISTED_CONFUSIONS = 12


def error_analysis(content: Content) -> str:
    """Error types, groups, curves and confusion matrix; empty without an analysis."""
    analysis = content.analysis
    if not analysis:
        return ""
    parts = [_split(analysis), _groups(analysis), _charts(analysis), _confusion(analysis)]
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
            for name in (grouping["title"], "objects", "AP50", "recall")
        )
        cards.append(card(table(rows, head=head), scroll=True))
    return f'<h3 class="above">AP50 by group</h3><div class="grid">{"".join(cards)}</div>'


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
    curves, recalls = analysis["curves"], analysis["recalls"]
    names = list(curves)
    mean = _mean([curves[name]["precision_at_recall"] for name in _with_objects(curves)])
    series = [Series(name="all classes", points=list(zip(recalls, mean, strict=False)), color=6)]
    if 1 < len(names) <= MOST_LINES:
        series += [
            Series(
                name=name,
                points=list(zip(recalls, curves[name]["precision_at_recall"], strict=True)),
                color=place,
            )
            for place, name in enumerate(names, start=1)
        ]
    title = "Precision-recall curve"
    chart = line_chart(title, series, x_label="recall", y_high=1.0, x_range=(0, 1))
    return chart_card(title, chart, names=_names(series), note="The area under a line is its AP50.")


def _over_thresholds(analysis: Mapping[str, Any]) -> str:
    curves, thresholds = analysis["curves"], analysis["thresholds"]
    chosen = _with_objects(curves)
    series = [
        Series(
            name=words,
            points=list(zip(thresholds, _mean([curves[n][part] for n in chosen]), strict=False)),
            color=color,
        )
        for color, (part, words) in enumerate((("precision", "precision"), ("recall", "recall"), ("f1", "F1")), start=1)
    ]
    title = "Precision, recall and F1 over the confidence threshold"
    note = "Mean over the classes. The table of classes has the threshold with the highest F1 of each class."
    chart = line_chart(title, series, x_label="confidence threshold", y_high=1.0, x_range=(0, 1))
    return chart_card(title, chart, names=_names(series), note=note)


def _score_histogram(analysis: Mapping[str, Any]) -> str:
    right = _sum([scores["right"] for scores in analysis["scores"].values()])
    wrong = _sum([scores["wrong"] for scores in analysis["scores"].values()])
    labels = [f"{place / len(right):.2f}" for place in range(1, len(right))]
    names = ("true positives", "false positives")
    series = [(names[0], [float(n) for n in right[1:]], 3), (names[1], [float(n) for n in wrong[1:]], 2)]
    title = "Scores of true and false positives"
    note = f"Not drawn: {right[0]:,} true and {wrong[0]:,} false positives with a score under 0.05." if right else ""
    chart = bar_chart(title, labels, series, x_label="score from")
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
    chart = bar_chart(title, labels, series, x_label="score from")
    note = f"With calibrated scores, score and precision are equal. Expected calibration error: {known['error']:.3f}."
    return chart_card(title, chart, names=legend([("score", 1), ("precision", 3)]), note=note)


def _confusion(analysis: Mapping[str, Any]) -> str:
    confusion = analysis["confusion"]
    names, counts = confusion["classes"], confusion["counts"]
    if len(names) < 2:
        return ""
    title, words, body = "Most frequent confusions", "", _list_of_confusions(names, counts)
    if len(names) <= LARGEST_MATRIX + 1:
        title, body = "Confusion matrix", _matrix(names, counts)
        words = " Rows: ground truth; columns: predictions. The last column counts missed objects, the last row false "
        words += "positives without an object."
    return (
        f'<h3 class="above">{title}</h3><p>Detections with a score of at least {confusion["score_threshold"]:g}.{words}'
        f"</p>{card(body, scroll=True)}"
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
    return f'<td class="number {kind}" style="--part:{number / total:.2f}">{number or ""}</td>'


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
