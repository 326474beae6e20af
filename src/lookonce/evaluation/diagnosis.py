"""Why is it 0? Checks in the order in which causes hide one another, each with its evidence and what to do.

Here are the checks, as functions of numbers; `workflows/diagnose.py` collects the numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.config.record import ModelRecord
from lookonce.data.annotations import Annotations
from lookonce.data.box_conventions import MOST_SLIPS, likely_convention, sound_share
from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.evaluation.evaluate import match_classes
from lookonce.evaluation.matching import close_pairs, image_rows_of_boxes, picture_rows
from lookonce.evaluation.results import Results
from lookonce.model.anchors import fit_anchors

# cause: this alone explains a score near 0. suspect: it costs, or may be it. look: for a person's eyes.
Verdict = Literal["cause", "suspect", "fine", "look", "unknown"]

NOTHING_AP50 = 0.01
HEALTHY_AP50 = 0.1
FEWEST_OBJECTS = 10  # fewer say nothing about a class
# A box can become this many times its anchor (dialect ultralytics: exactly, (2 * sigmoid)^2); beyond it, or under the
# inverse, learning is slow in the other dialects.
ANCHOR_REACH = 4.0
# Peak rates that the field trains such networks with, to a factor of a few; of batches up to 64.
USUAL_LR: dict[str, tuple[float, float]] = {"sgd": (3e-4, 0.05), "adamw": (3e-5, 0.008)}
FEWEST_STEPS = 200


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. evidence: what was seen; advice: what to do, empty where nothing is to be done."""

    name: str
    verdict: Verdict
    evidence: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All checks, in their order. AP50 of the weights on the validation split, -1 where it is not known."""

    checks: Sequence[Check]
    AP50: float

    @property
    def cause(self) -> Check | None:
        """The first check that explains a score near 0."""
        return next((check for check in self.checks if check.verdict == "cause"), None)

    @property
    def exit_code(self) -> int:
        return 1 if self.cause is not None else 0


def check_categories(found: Sequence[tuple[Dataset, Results]]) -> Check:
    """Whether objects are found as the class they are labelled as, of each split that was looked at."""
    name, told = "category mapping", []
    for dataset, results in found:
        counts = found_as(dataset, results)
        seen = int(counts.sum())
        if seen < FEWEST_OBJECTS:
            told.append(f"{dataset.split}: {seen} objects found as any class")
            continue
        agree = float(np.trace(counts)) / seen
        other = other_mapping(counts)
        if other is not None:
            pairs = ", ".join(
                f"{dataset.class_names[row]} as {dataset.class_names[column]}"
                for row, column in enumerate(other)
                if column != row
            )
            return Check(
                name=name,
                verdict="cause",
                evidence=f"the network finds the objects of split {dataset.split!r}, but under other names: {pairs}; "
                f"{100 * agree:.0f} % of {seen} well-placed boxes have the labelled class",
                advice="compare the category ids of the splits' annotation files (is one list shifted, or in another "
                "order?), correct them, and train again if the training labels were the wrong ones",
            )
        told.append(f"{dataset.split}: {100 * agree:.0f} % of {seen} found objects have their class")
    known = any("%" in text for text in told)
    return Check(name=name, verdict="fine" if known else "unknown", evidence="; ".join(told) or "nothing was looked at")


def found_as(dataset: Dataset, results: Results) -> NDArray[np.int64]:
    """(C, C) objects by their class (rows) and that of the best-scored box that overlaps them by 0.5 (columns)."""
    object_images = image_rows_of_boxes(dataset)
    objects = np.flatnonzero(~dataset.crowd)
    objects = objects[np.argsort(object_images[objects], kind="stable")]
    close = close_pairs(results.boxes_xywh, picture_rows(dataset, results), dataset, objects, object_images[objects])
    order = np.lexsort((-results.scores[close.detections], close.objects))
    rows, first = np.unique(close.objects[order], return_index=True)
    counts = np.zeros((len(dataset.class_names),) * 2, np.int64)
    np.add.at(counts, (dataset.labels[rows], results.labels[close.detections[order][first]]), 1)
    return counts


def other_mapping(counts: NDArray[np.int64]) -> list[int] | None:
    """The class that each class is mostly found as, where these are other classes, each taken once; else None.

    A network that has learned little calls everything by the commonest class: that is no mapping. Classes of fewer than
    FEWEST_OBJECTS / 2 found objects are left as they are.
    """
    enough = counts.sum(axis=1) >= FEWEST_OBJECTS / 2
    mapping = np.where(enough, counts.argmax(axis=1), np.arange(len(counts)))
    moved = enough & (mapping != np.arange(len(counts)))
    agreeing = counts[np.flatnonzero(moved), mapping[moved]].sum()
    if moved.sum() < 2 or len(set(mapping[enough].tolist())) < int(enough.sum()):
        return None
    convinced = agreeing >= 0.6 * counts[moved].sum() and agreeing > np.trace(counts)
    return [int(label) for label in mapping] if convinced else None


def check_class_names(record: ModelRecord, dataset: Dataset) -> Check:
    """Whether the network has an output for each class of the data."""
    name = "class count against head"
    try:
        labels = match_classes(record, dataset)
    except DataError as error:
        return Check(name=name, verdict="cause", evidence=str(error))
    unknown = [theirs for label, theirs in enumerate(dataset.class_names) if label not in labels.tolist()]
    if unknown:
        return Check(
            name=name,
            verdict="suspect",
            evidence=f"the network has {record.num_classes} classes, split {dataset.split!r} has "
            f"{len(dataset.class_names)}; it cannot find {', '.join(unknown[:8])}",
            advice="evaluate on the classes it was trained with, or train with these",
        )
    return Check(name=name, verdict="fine", evidence=f"{record.num_classes} classes in both")


def check_labels(splits: Sequence[Annotations]) -> Check:
    """Whether the four numbers of the boxes are what they are read as: pixels or fractions, corners or sizes."""
    name, told = "labels: pixels or fractions, corners or sizes", []
    for found in splits:
        sizes = found.image_sizes_wh[found.image_rows].astype(np.float64)
        reading = likely_convention(found.boxes_xyxy, sizes)
        share = sound_share(found.boxes_xyxy, sizes)
        if reading is not None:
            example = ", ".join(f"{value:.4g}" for value in found.boxes_xyxy[0])
            return Check(
                name=name,
                verdict="cause",
                evidence=f"split {found.split!r}: as they are read, {100 * share:.0f} % of {len(sizes):,} boxes have "
                f"an area inside their picture; nearly all would if the numbers are {reading.words}. The first, "
                f"{found.place(0)}, becomes the corners ({example}) in a picture of {sizes[0, 0]:g}x{sizes[0, 1]:g}",
                advice=reading.remedy,
            )
        told.append(f"{found.split}: {100 * share:.1f} % of {len(sizes):,} boxes have an area inside their picture")
        if share < 1 - 5 * MOST_SLIPS:
            return Check(
                name=name,
                verdict="suspect",
                evidence="; ".join(told),
                advice="the rest is clipped or left out; look at the overlay, and run `lookonce check`",
            )
    return Check(name=name, verdict="fine", evidence="; ".join(told))


def check_anchors(sizes_wh: NDArray[np.float64], record: ModelRecord) -> Check:
    """How many objects are within reach of an anchor. sizes_wh (N, 2): pixels of the network's input."""
    name = "recall bound of the anchors"
    if not len(sizes_wh):
        return Check(name=name, verdict="unknown", evidence="no objects")
    anchors = np.asarray(record.anchors, np.float64)
    bound = reachable_share(sizes_wh, anchors)
    shown = " ".join(f"{width:g}x{height:g}" for width, height in record.anchors)
    evidence = f"{100 * bound:.1f} % of the objects are within a factor of {ANCHOR_REACH:g} of an anchor ({shown})"
    if bound >= 0.9:
        return Check(name=name, verdict="fine", evidence=evidence)
    fitted = fit_anchors(np.maximum(sizes_wh, 1.0))
    better = reachable_share(sizes_wh, fitted)
    median = np.median(sizes_wh, axis=0)
    return Check(
        name=name,
        verdict="cause" if bound < 0.5 and better > bound + 0.25 else "suspect",
        evidence=f"{evidence}; the median object is {median[0]:.0f}x{median[1]:.0f} pixels of the network's input; "
        f"with anchors fitted to these objects it is {100 * better:.1f} %",
        advice="train with anchors=auto, or with: "
        f"anchors='[{', '.join(f'[{width:.0f},{height:.0f}]' for width, height in fitted)}]'",
    )


def reachable_share(sizes_wh: NDArray[np.float64], anchors_wh: NDArray[np.float64]) -> float:
    """(N, 2), (A, 2) -> the part of the sizes that differ from some anchor by less than ANCHOR_REACH either way."""
    ratios = np.maximum(sizes_wh, 1e-9)[:, None] / anchors_wh[None]  # (N, A, 2)
    return float((np.maximum(ratios, 1 / ratios).max(axis=2).min(axis=1) < ANCHOR_REACH).mean())


def check_learning(
    rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any], *, diverged: bool = False, healthy: bool = False
) -> Check:
    """Learning rate and warm-up, from the settings and the table of metrics.

    diverged: the run ended with a NaN. healthy: it scores well all the same, so that nothing here is the cause.
    """
    check = _check_rate(rows, settings, diverged=diverged)
    return replace(check, verdict="suspect") if healthy and check.verdict == "cause" else check


def _check_rate(rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any], *, diverged: bool) -> Check:
    name = "learning rate and warm-up"
    if not settings:
        return Check(name=name, verdict="unknown", evidence="no run folder: its settings and losses are not known")
    lr, optimizer = float(settings["lr"]), str(settings["optimizer"])
    lowest, highest = USUAL_LR[optimizer]
    highest *= max(1.0, _images_a_step(settings) / 64)
    story = _loss_story(rows)
    rate = f"lr {lr:g} with {optimizer} (usual: {lowest:g} to {highest:g})"
    lower = f"train with lr={_round(math.sqrt(lowest * highest))}"
    if diverged:
        return Check(name=name, verdict="cause", evidence=f"the loss became no number; {rate}", advice=lower)
    if lr > highest:
        return Check(name=name, verdict="cause", evidence=f"{rate} is too high; {story}", advice=lower)
    fell_at = _sudden_rise(rows)
    if fell_at is not None:
        evidence = f"the loss rose at once in epoch {fell_at + 1}; {rate}; {story}"
        return Check(name=name, verdict="cause", evidence=evidence, advice=f"{lower}, or clip_norm=10 where it is 0")
    warmup = float(settings.get("warmup_epochs", 0))
    if rows and len(rows) <= warmup:
        evidence = f"{len(rows)} epochs are done, and the rate rises for {warmup:g}; {story}"
        return Check(
            name=name, verdict="cause", evidence=evidence, advice="train longer, or with a shorter warmup_epochs"
        )
    if lr < lowest:
        return Check(name=name, verdict="cause", evidence=f"{rate} is too low; {story}", advice=lower)
    steps = int(rows[-1].get("step", 0)) if rows else 0
    if rows and steps < FEWEST_STEPS:
        evidence = f"{rate}; only {steps} steps were made; {story}"
        return Check(name=name, verdict="suspect", evidence=evidence, advice="more epochs, or a smaller batch_size")
    return Check(name=name, verdict="fine", evidence=f"{rate}; {story}")


def _images_a_step(settings: Mapping[str, Any]) -> float:
    return float(settings.get("batch_size", 1) or 1) * float(settings.get("accumulate", 1) or 1)


def _round(lr: float) -> str:
    """One digit: 0.004, 0.0005."""
    return f"{lr:.0e}" if lr < 1e-4 else f"{float(f'{lr:.0e}'):g}"


def _loss_story(rows: Sequence[Mapping[str, float]]) -> str:
    losses = [row["loss"] for row in rows if "loss" in row]
    if not losses:
        return "no epoch is finished"
    return f"loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last, {min(losses):.3g} at best"


def _sudden_rise(rows: Sequence[Mapping[str, float]]) -> int | None:
    """The last epoch whose loss is half as much again as that of the epoch before, unless it came back later."""
    losses = [row["loss"] for row in rows if "loss" in row]
    for epoch in range(len(losses) - 1, 0, -1):
        if losses[epoch] > 1.5 * losses[epoch - 1] and min(losses[epoch:]) > losses[epoch - 1]:
            return epoch
    return None


def check_training_images(train_ap50: float, val_ap50: float, num_images: int) -> Check:
    """Whether it finds at least what it was shown."""
    name = "AP on training pictures"
    if train_ap50 < 0:
        return Check(name=name, verdict="unknown", evidence="no training pictures to look at")
    evidence = f"AP50 {train_ap50:.3f} on {num_images} training pictures"
    evidence += f", {val_ap50:.3f} on validation pictures" if val_ap50 >= 0 else ""
    if 0 <= val_ap50 < NOTHING_AP50 and train_ap50 > max(0.1, 10 * val_ap50):
        return Check(
            name=name,
            verdict="cause",
            evidence=f"{evidence}: it has learned, but not what the validation split shows",
            advice="look at both splits: other pictures, other labels, or too few training pictures (then more "
            "augmentation, or start from weights)",
        )
    if train_ap50 < NOTHING_AP50:
        return Check(
            name=name,
            verdict="suspect",
            evidence=f"{evidence}: it has not even learned what it was shown",
            advice="try to learn eight pictures by heart first: the cause lies in labels, anchors or the learning rate",
        )
    return Check(name=name, verdict="fine", evidence=evidence)


def check_scores(found: Sequence[tuple[Dataset, Results]]) -> Check:
    """How sure the network is of anything."""
    name = "score histogram"
    scores = np.concatenate([results.scores for _, results in found]) if found else np.zeros(0)
    num_images = sum(len(dataset) for dataset, _ in found)
    if not num_images:
        return Check(name=name, verdict="unknown", evidence="nothing was looked at")
    edges = (0.001, 0.01, 0.05, 0.25, 0.5, 1.0)
    counts, _ = np.histogram(scores, bins=edges)
    shown = ", ".join(
        f"{low:g} to {high:g}: {count}" for low, high, count in zip(edges, edges[1:], counts, strict=False)
    )
    evidence = f"{len(scores):,} detections in {num_images} pictures; {shown}"
    best = float(scores.max(initial=0))
    if best < edges[2]:
        return Check(
            name=name,
            verdict="suspect",
            evidence=f"the best score is {best:.3f}: the network says that there is nothing anywhere; {evidence}",
            advice="it has not begun to learn: more steps, and see the checks above",
        )
    return Check(name=name, verdict="fine", evidence=evidence)
