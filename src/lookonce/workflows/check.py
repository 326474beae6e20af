"""`lookonce check`: is this data set fit to train on?"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from lookonce.data.check import CheckResult, SplitSummary, check_data
from lookonce.data.checks import CHECKS, chosen_checks
from lookonce.data.source import open_data
from lookonce.storage import explained_write, write_file


def check(
    data: str | Path,
    *,
    images: Path | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    json_file: Path | None = None,
    decode: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckResult:
    """Look at every annotation and every picture before training does; exit status 1 where there are errors.

    Parameters
    ----------
    data
        Labelled pictures: a COCO, VOC or YOLO data set, or an annotation JSON together with --images.
    images
        Folder of the pictures of an annotation JSON.
    only
        Checks to make, by name (tiny-box) or group: annotations, pictures, copies, boxes, classes. docs/check.md
        lists them.
    skip
        Checks to leave out, by name or group.
    json_file
        File to write all findings and counts into.
    decode
        Decode every picture; without it only their headers are read, and a damaged picture passes.
    on_progress
        Called with pictures done and pictures in all.
    """
    checks = chosen_checks(_words(only), _words(skip))
    result = check_data(open_data(data, images), checks=checks, decode=decode, on_progress=on_progress)
    if json_file is not None:
        _write(json_file, json.dumps(as_json(result), indent=1) + "\n")
    return result


def _words(typed: Sequence[str]) -> list[str]:
    """`tiny-box,huge-box` and `tiny-box huge-box` are the same."""
    return [word for part in typed for word in part.split(",") if word]


def _write(path: Path, text: str) -> None:
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)


def as_json(result: CheckResult) -> dict[str, object]:
    """What `--json` writes: counts, the checks made with how often each found something, the findings, worst first."""
    found = {name: sum(finding.name == name for finding in result.findings) for name in CHECKS}
    return {
        "origin": result.origin,
        "format": result.format,
        "class_names": list(result.class_names),
        "num_errors": result.num_errors,
        "num_warnings": result.count("warning"),
        "num_notes": result.count("note"),
        "num_pictures": result.pictures,
        "seconds": round(result.seconds, 3),
        "splits": [asdict(split) for split in result.splits],
        "checks": [
            {"name": name, "severity": CHECKS[name].severity, "count": found[name]}
            for name in CHECKS
            if name in result.checks
        ],
        "findings": [{"severity": finding.severity, **asdict(finding)} for finding in result.sorted_findings],
    }


def as_text(result: CheckResult, shown: int = 5) -> Iterator[str]:
    """Lines for a terminal: counts of each split, then each kind of finding with its first few."""
    yield f"{result.origin}: {result.format}, {len(result.class_names)} classes"
    for split in result.splits:
        yield from _summary_lines(split)
    for name, group in groupby(result.sorted_findings, key=lambda found: found.name):
        findings = list(group)
        yield f"{CHECKS[name].severity}: {name} ({len(findings)}): {CHECKS[name].advice}"
        yield from (f"  {finding.message}" for finding in findings[:shown])
        if len(findings) > shown:
            yield f"  and {len(findings) - shown} more"
    yield _speed_line(result)
    yield f"{result.num_errors} errors, {result.count('warning')} warnings, {result.count('note')} notes"


def _speed_line(result: CheckResult) -> str:
    decoded = any(CHECKS[name].needs_pixels for name in result.checks)
    how = "decoded" if decoded else "looked at by their headers"
    return f"{result.pictures} pictures {how}, {result.pictures / max(result.seconds, 1e-3):,.0f} a second"


def _summary_lines(split: SplitSummary) -> Iterator[str]:
    sizes = " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in (split.smallest_wh, split.largest_wh)))
    crowd = f", {split.crowd} of them crowd" if split.crowd else ""
    share = f"{100 * split.background / max(split.pictures, 1):.0f} %"
    yield (
        f"  {split.split}: {split.pictures} pictures ({split.background} without boxes, {share}), {sizes}; "
        f"{split.boxes} boxes{crowd}"
    )
    counts = sorted(split.class_boxes.items(), key=lambda item: -item[1])
    more = f", and {len(counts) - 10} more classes" if len(counts) > 10 else ""
    yield "    " + ", ".join(f"{name} {count}" for name, count in counts[:10]) + more
