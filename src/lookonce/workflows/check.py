"""`lookonce check`: is this data set fit to train on?"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from lookonce.data.check import CheckResult, SplitSummary, check_data
from lookonce.data.source import open_data


def check(
    data: str | Path,
    *,
    images: Path | None = None,
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
    json_file
        File to write all findings and counts into.
    decode
        Decode every picture; without it only their headers are read, and a damaged picture passes.
    on_progress
        Called with pictures done and pictures in all.
    """
    result = check_data(open_data(data, images), decode=decode, on_progress=on_progress)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(as_json(result), indent=1) + "\n", encoding="utf-8")
    return result


def as_json(result: CheckResult) -> dict[str, object]:
    """What `--json` writes: origin, format, class_names, num_errors, splits (counts), findings (worst first)."""
    return {
        "origin": result.origin,
        "format": result.format,
        "class_names": list(result.class_names),
        "num_errors": result.num_errors,
        "splits": [asdict(split) for split in result.splits],
        "findings": [asdict(finding) for finding in result.sorted_findings],
    }


def as_text(result: CheckResult, shown: int = 5) -> Iterator[str]:
    """Lines for a terminal: counts of each split, then each kind of finding with its first few."""
    yield f"{result.origin}: {result.format}, {len(result.class_names)} classes"
    for split in result.splits:
        yield from _summary_lines(split)
    for (severity, name), group in groupby(result.sorted_findings, key=lambda found: (found.severity, found.name)):
        findings = list(group)
        yield f"{severity}: {name} ({len(findings)})"
        yield from (f"  {finding.message}" for finding in findings[:shown])
        if len(findings) > shown:
            yield f"  and {len(findings) - shown} more"
    yield f"{result.num_errors} errors, {sum(found.severity == 'warning' for found in result.findings)} warnings"


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
