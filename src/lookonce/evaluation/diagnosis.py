"""Why is the AP 0? Checks with evidence and advice, in the order in which one cause hides the next.

The checks are functions of numbers; `workflows/diagnose.py` collects these numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.data.anchors import MOST_STRETCH, best_possible_recall, fit_anchors
from lookonce.data.annotations import Annotations
from lookonce.data.box_conventions import MOST_SLIPS, convention_evidence, likely_convention, sound_share
from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.evaluation.evaluate import match_classes
from lookonce.evaluation.matching import match, overlapping_pairs
from lookonce.evaluation.results import Results
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord
from lookonce.shown import percent

# cause: this alone explains an AP near 0. suspect: this lowers AP or may be the cause. look: a person must judge.
Verdict = Literal["cause", "suspect", "fine", "look", "unknown"]

NOTHING_AP50 = 0.01
HEALTHY_AP50 = 0.1
FEWEST_OBJECTS = 10  # with fewer, a class is not judged
# Usual peak learning rates of such networks, to within a small factor, for batches of up to 64 images.
USUAL_LR: dict[str, tuple[float, float]] = {"sgd": (3e-4, 0.05), "adamw": (3e-5, 0.008)}
FEWEST_STEPS = 200
NO_IMAGES = "no images were evaluated"


@dataclass(frozen=True)
class Check:
    """The outcome of one check. evidence: what was measured; advice: what to do, empty if there is nothing to do."""

    name: str
    verdict: Verdict
    evidence: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All checks, in their order. AP50 of the weights on the validation split, -1 if unknown."""

    checks: Sequence[Check]
    AP50: float

    @property
    def cause(self) -> Check | None:
        """The first check that explains an AP near 0."""
        return next((check for check in self.checks if check.verdict == "cause"), None)

    @property
    def exit_code(self) -> int:
        return 1 if self.cause is not None else 0


def check_categories(found: Sequence[tuple[Dataset, Results]]) -> Check:
    """Whether objects are detected as the class of their label, for each evaluated split."""
    name, lines, known = "category mapping", [], False
    for dataset, results in found:
        counts, split = found_as(dataset, results), f"split {dataset.split!r}"
        seen = int(counts.sum())
        if seen < FEWEST_OBJECTS:
            lines.append(f"{split}: too few objects detected to judge ({seen} of at least {FEWEST_OBJECTS})")
            continue
        agreement = f"{percent(float(np.trace(counts)) / seen)} of {seen} detected objects have the labelled class"
        other, names = other_mapping(counts), dataset.class_names
        if other is not None:
            moved = [(row, column) for row, column in enumerate(other) if column != row]
            pairs = ", ".join(f"'{names[row]}' as '{names[column]}'" for row, column in moved)
            return Check(
                name,
                "cause",
                f"the network detects the objects of {split}, but as other classes: {pairs}; {agreement}",
                "compare the category ids in the annotation files of the splits (is one list shifted or in another "
                "order?) and correct them; if the training labels were wrong, train again",
            )
        known = True
        lines.append(f"{split}: {agreement}")
    return Check(name, "fine" if known else "unknown", "; ".join(lines) or NO_IMAGES)


def found_as(dataset: Dataset, results: Results) -> NDArray[np.int64]:
    """(C, C) objects by their class (rows) and that of the highest-scoring box with an IoU of 0.5 or more (columns)."""
    matches = match(dataset, results)
    close = overlapping_pairs(dataset, results, matches, iou_threshold=0.5)
    order = np.lexsort((-matches.scores[close.detections], close.objects))
    rows, first = np.unique(close.objects[order], return_index=True)
    counts = np.zeros((len(dataset.class_names),) * 2, np.int64)
    np.add.at(counts, (dataset.labels[rows], matches.labels[close.detections[order][first]]), 1)
    return counts


def other_mapping(counts: NDArray[np.int64]) -> list[int] | None:
    """The class that each class is mostly detected as, if these are other classes, each used once; else None.

    A network that has learned little predicts the commonest class everywhere, which is not a mapping, or one by chance:
    the other classes must be more than two standard deviations ahead of the labelled ones. Classes with fewer than
    FEWEST_OBJECTS / 2 detected objects keep their label.
    """
    enough = counts.sum(axis=1) >= FEWEST_OBJECTS / 2
    mapping = np.where(enough, counts.argmax(axis=1), np.arange(len(counts)))
    moved = enough & (mapping != np.arange(len(counts)))
    agreeing, total = counts[np.flatnonzero(moved), mapping[moved]].sum(), counts[moved].sum()
    if moved.sum() < 2 or len(set(mapping[enough].tolist())) < int(enough.sum()):
        return None
    ahead = agreeing - np.diag(counts)[moved].sum()
    convinced = agreeing >= 0.6 * total and agreeing > np.trace(counts) and ahead > 2 * np.sqrt(total)
    return [int(label) for label in mapping] if convinced else None


def check_class_names(record: ModelRecord, dataset: Dataset) -> Check:
    """Whether the network has an output for each class of the data set."""
    name, classes = "class count against head", counted(record.num_classes, "class")
    try:
        labels = match_classes(record, dataset)
    except DataError as error:
        return Check(name, "cause", str(error))
    unknown = [theirs for label, theirs in enumerate(dataset.class_names) if label not in labels.tolist()]
    if unknown:
        return Check(
            name,
            "suspect",
            f"the network has {classes}, split {dataset.split!r} has {len(dataset.class_names)}; it cannot detect "
            f"{few([repr(theirs) for theirs in unknown])}",
            "evaluate on the classes that the network was trained with, or train with the classes of the split",
        )
    return Check(name, "fine", f"{classes} in both")


def check_labels(splits: Sequence[Annotations]) -> Check:
    """Whether the box coordinates follow the convention they are read with: pixels or fractions, corners or sizes."""
    name, lines = "labels: pixels or fractions, corners or sizes", []
    for found in splits:
        sizes = found.box_sizes_wh
        reading = likely_convention(found.boxes_xyxy, sizes, found.written)
        if reading is not None:
            return Check(name, "cause", convention_evidence(found, reading), reading.remedy)
        share = sound_share(found.boxes_xyxy, sizes)
        split = f"split {found.split!r}"
        lines.append(f"{split}: {percent(share)} of {len(sizes):,} boxes have an area inside their image")
        if share < 1 - 5 * MOST_SLIPS:
            advice = "the other boxes are clipped or dropped; inspect overlay.jpg and run `lookonce check`"
            return Check(name, "suspect", "; ".join(lines), advice)
    return Check(name, "fine", "; ".join(lines))


def check_anchors(sizes_wh: NDArray[np.float64], record: ModelRecord) -> Check:
    """Fraction of the objects that an anchor can fit. sizes_wh (N, 2): pixels of the network input."""
    name = "recall bound of the anchors"
    if not len(sizes_wh):
        return Check(name, "unknown", "no objects")
    anchors, sizes_wh = np.asarray(record.anchors, np.float64), np.maximum(sizes_wh, 1e-9)
    bound = best_possible_recall(sizes_wh, anchors)
    shown = " ".join(f"{width:g}x{height:g}" for width, height in record.anchors)
    evidence = f"{percent(bound)} of the objects are within a factor of {MOST_STRETCH:g} of an anchor ({shown})"
    if bound >= 0.9:
        return Check(name, "fine", evidence)
    fitted = fit_anchors(np.maximum(sizes_wh, 1.0))
    better = best_possible_recall(sizes_wh, fitted)
    width, height = np.median(sizes_wh, axis=0)
    return Check(
        name,
        "cause" if bound < 0.5 and better > bound + 0.25 else "suspect",
        f"{evidence}; the median object has {width:.0f}x{height:.0f} pixels of the network input; with anchors fitted "
        f"to these objects it is {percent(better)}",
        f"train with anchors=auto, or with: anchors='[{', '.join(f'[{w:.0f},{h:.0f}]' for w, h in fitted)}]'",
    )


def check_learning(
    rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any], *, diverged: bool = False, healthy: bool = False
) -> Check:
    """Checks learning rate and warm-up in the settings and the table of metrics.

    diverged: the run ended with a non-finite loss. healthy: the AP is good, so nothing here can be the cause.
    """
    check = _check_rate(rows, settings, diverged=diverged)
    return replace(check, verdict="suspect") if healthy and check.verdict == "cause" else check


def _check_rate(rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any], *, diverged: bool) -> Check:
    name = "learning rate and warm-up"
    if not settings:
        return Check(name, "unknown", "no run folder, so settings and losses are unknown")
    lr, optimizer = float(settings["lr"]), str(settings["optimizer"])
    lowest, highest = USUAL_LR[optimizer]
    images_a_step = float(settings.get("batch_size") or 1) * float(settings.get("accumulate") or 1)
    highest *= max(1.0, images_a_step / 64)
    story, rose_at = _loss_story(rows), _sudden_rise(rows)
    rate = f"lr {lr:g} with {optimizer} (usual: {lowest:g} to {highest:g})"
    lower = f"train with lr={_round(math.sqrt(lowest * highest))}"
    warmup = float(settings.get("warmup_epochs", 0))
    steps = int(rows[-1].get("step", 0)) if rows else 0
    if diverged:
        return Check(name, "cause", f"the loss became NaN or infinite; {rate}", lower)
    if lr > highest:
        return Check(name, "cause", f"{rate} is too high; {story}", lower)
    if rose_at is not None:
        evidence = f"the loss jumped up in epoch {rose_at + 1}; {rate}; {story}"
        return Check(name, "cause", evidence, f"{lower}; if clip_norm is 0, set clip_norm=10")
    if rows and len(rows) <= warmup:
        evidence = f"{len(rows)} of {warmup:g} warm-up epochs done; {story}"
        return Check(name, "cause", evidence, "train longer, or set a smaller warmup_epochs")
    if lr < lowest:
        return Check(name, "cause", f"{rate} is too low; {story}", lower)
    if rows and steps < FEWEST_STEPS:
        evidence = f"{rate}; only {steps} steps of the optimizer; {story}"
        return Check(name, "suspect", evidence, "train more epochs, or set a smaller batch_size")
    return Check(name, "fine", f"{rate}; {story}")


def _round(lr: float) -> str:
    """One significant digit: 0.004, 0.0005."""
    return f"{lr:.0e}" if lr < 1e-4 else f"{float(f'{lr:.0e}'):g}"


def _loss_story(rows: Sequence[Mapping[str, float]]) -> str:
    losses = [row["loss"] for row in rows if "loss" in row]
    if not losses:
        return "no epoch has finished"
    return f"loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last, {min(losses):.3g} at best"


def _sudden_rise(rows: Sequence[Mapping[str, float]]) -> int | None:
    """The last epoch whose loss is over 1.5 times that of the epoch before and stays above it; None without one."""
    losses = [row["loss"] for row in rows if "loss" in row]
    for epoch in range(len(losses) - 1, 0, -1):
        if losses[epoch] > 1.5 * losses[epoch - 1] and min(losses[epoch:]) > losses[epoch - 1]:
            return epoch
    return None


def check_training_images(train_ap50: float, val_ap50: float, num_images: int) -> Check:
    """Whether the network has learned at least its training images."""
    name = "AP on training images"
    if train_ap50 < 0:
        return Check(name, "unknown", "no training images to evaluate")
    evidence = f"AP50 {train_ap50:.3f} on {num_images} training images"
    evidence += f", {val_ap50:.3f} on validation images" if val_ap50 >= 0 else ""
    if 0 <= val_ap50 < NOTHING_AP50 and train_ap50 > max(0.1, 10 * val_ap50):
        return Check(
            name,
            "cause",
            f"{evidence}: the network has learned, but does not generalise to the validation split",
            "compare both splits: their images or labels differ, or there are too few training images (then use more "
            "augmentation, or start from pretrained weights)",
        )
    if train_ap50 < NOTHING_AP50:
        return Check(
            name,
            "suspect",
            f"{evidence}: the network has not even learned its training images",
            "first overfit a network to 8 images: if that fails, labels, anchors or learning rate are wrong",
        )
    return Check(name, "fine", evidence)


def check_scores(found: Sequence[tuple[Dataset, Results]]) -> Check:
    name, edges = "score histogram", (0.001, 0.01, 0.05, 0.25, 0.5, 1.0)
    num_images = sum(len(dataset) for dataset, _ in found)
    if not num_images:
        return Check(name, "unknown", NO_IMAGES)
    scores = np.concatenate([results.scores for _, results in found])
    counts, _ = np.histogram(scores, bins=edges)
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    shown = ", ".join(f"{count:,} from {low:g} to {high:g}" for low, high, count in bins)
    evidence = f"{counted(len(scores), 'detection')} in {counted(num_images, 'image')}; by score: {shown}"
    best = float(scores.max(initial=0))
    if best < edges[2]:
        evidence = f"the highest score is {best:.3f}: the network detects nothing anywhere; {evidence}"
        return Check(
            name, "suspect", evidence, "the network has hardly learned: train more steps, and see the checks above"
        )
    return Check(name, "fine", evidence)
