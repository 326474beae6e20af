"""A summary of a run in a few sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from lookonce.reports.content import Content
from lookonce.reports.elements import interval_words
from lookonce.settings.names import counted, few

FEW_OBJECTS = 20  # AP of a class with fewer scored objects is unreliable


def sentences(content: Content) -> list[str]:
    """The summary as plain text, without markup."""
    rows = content.run.rows
    found = [*_scores(content), *_classes(content.metrics), *_errors(content.analysis)]
    scored = [(row["AP"], place) for place, row in enumerate(rows, start=1) if "AP" in row]
    if len(scored) > 2 and max(scored)[1] == len(rows):
        found.append("The last epoch was the best: longer training may score higher.")
    return found


def _scores(content: Content) -> Iterator[str]:
    metrics = content.metrics
    if metrics.get("AP50", -1) < 0:
        yield "It has not been scored on labelled images."
    else:
        interval = interval_words(metrics.get("intervals", {}).get("AP50"))
        sure = f" (95 % interval {interval})" if interval else ""
        yield f"AP50 {metrics['AP50']:.3f}{sure} and AP {metrics['AP']:.3f} on {content.scored_on}."
    if content.weak:
        yield content.weak
    if content.counts is not None:
        objects, missed, wrong = content.counts
        found = f"{objects - missed:,} of {counted(objects, 'object')} are detected and {missed:,} missed"
        yield f"From {content.shown_from} up, {found}; false positives: {wrong:,}."


def _classes(metrics: Mapping[str, Any]) -> Iterator[str]:
    per_class = {name: row for name, row in metrics.get("per_class", {}).items() if row.get("AP50", -1) >= 0}
    if len(per_class) > 1:
        best, worst = (choose(per_class, key=lambda name: per_class[name]["AP50"]) for choose in (max, min))
        low, high = (per_class[name]["AP50"] for name in (worst, best))
        if high > low:
            yield f"Best class: '{best}' (AP50 {high:.3f}), worst class: '{worst}' ({low:.3f})."
    rare = [f"'{name}'" for name, row in per_class.items() if row.get("num_objects", FEW_OBJECTS) < FEW_OBJECTS]
    if rare:
        yield f"Fewer than {FEW_OBJECTS} objects of {few(rare, 6)} were scored, so these scores are unreliable."


def _errors(analysis: Mapping[str, Any]) -> Iterator[str]:
    errors: Mapping[str, Mapping[str, float]] = analysis.get("errors", {})
    costly = sorted(errors, key=lambda kind: -errors[kind]["AP50"])[:2]
    if costly and errors[costly[0]]["AP50"] > 0:
        kinds = " and ".join(f"{kind} errors ({100 * errors[kind]['AP50']:.1f})" for kind in costly)
        yield f"Most points of AP50 are lost to {kinds}."
    sizes = analysis.get("groups", {}).get("size", {}).get("groups", [])
    known = [group for group in sizes if group["num_objects"] >= FEW_OBJECTS]
    if len(known) > 1:
        weakest = min(known, key=lambda group: group["AP50"])
        yield f"Weakest object size: {weakest['name']} (AP50 {weakest['AP50']:.3f})."
