"""`lookonce check`: validates a data set before training."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from lookonce.data.check import CheckResult, SplitSummary, check_data
from lookonce.data.finding_kinds import FINDING_KINDS, SEVERITIES, chosen_checks
from lookonce.data.findings import Finding
from lookonce.data.held_out import VAL
from lookonce.data.layouts import described_above
from lookonce.data.repair import repair
from lookonce.data.source import IMAGES_ALONE, NoAnnotations, bounded, open_data, open_images
from lookonce.data.splits import DataSource
from lookonce.data.write import Copy, own_format, require_new, write_data
from lookonce.errors import DataError
from lookonce.layout import Printed
from lookonce.log import get_logger, progress_bar
from lookonce.reports.advice import Advice, advise
from lookonce.reports.check_page import CheckPage, render_check
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.names import counted, few, split_list
from lookonce.settings.resolve import coerce
from lookonce.settings.schema import default_of
from lookonce.shown import command, percent
from lookonce.storage import write_file
from lookonce.workflows.validation_split import require_val_split, with_val


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A corrected copy. changes: one line of text per change."""

    copy: Copy
    changes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checked(Printed):
    """The result of `check`; command: the one that repeats it; fixed: the corrected copy if `fix` was given; files:
    those of `json_file` and `html`."""

    result: CheckResult
    command: str
    fixed: Fixed | None = None
    advice: Advice | None = None
    files: tuple[Path, ...] = ()

    @property
    def num_errors(self) -> int:
        return self.result.num_errors


def check(
    data: str | Path,
    *,
    images: Path | None = None,
    follow_links: bool = False,
    only: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    json_file: Path | None = None,
    html: Path | None = None,
    fix: Path | None = None,
    weights: Path | None = None,
    names: Path | None = None,
    decode: bool = True,
    advice: bool = True,
    val_split: str = default_of("val_split"),
    val_fraction: float = default_of("val_fraction"),
    seed: int = default_of("seed"),
    on_progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Check every annotation and every image before training; exit status 1 if there are errors.

    Your files are never changed.

    Parameters
    ----------
    data
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
        For an image, or a folder of images without annotations, only the image files are checked.
    images
        Image folder of an annotation JSON.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    only
        Checks to run, by name (tiny-box) or group: annotations, images (image files), copies (duplicates), boxes,
        classes. docs/check.md lists them.
    skip
        Checks to skip, by name or group.
    json_file
        JSON file to write with all findings and counts.
    html
        HTML file to write with the findings, drawn on their images.
    fix
        New folder for a corrected copy; its changes.txt lists each change and each finding left for you to decide.
    weights
        Detector whose detections are compared with the labels: likely label errors, the likeliest first. Takes what
        `lookonce eval --weights` takes.
    names
        Text file of class names, one per line, for weights without names.
    decode
        Decode every image; --no-decode reads only the headers, which is faster but misses damaged images.
    advice
        Recommend an image size, from the sizes and distances of the objects.
    val_split
        Setting val_split of the training. Only val makes the training hold images out where the data have no split val.
    val_fraction
        Setting val_fraction of the training: the fraction that it holds out where the data have no split val.
    seed
        Setting seed of the training, which selects what it holds out.
    on_progress
        Called with (images done, images in total).
    """
    held_out = {name: coerce(name, value) for name, value in (("val_fraction", val_fraction), ("seed", seed))}
    # `tiny-box,huge-box` equals `tiny-box huge-box`.
    checks = chosen_checks(*([name for part in given or () for name in split_list(part)] for given in (only, skip)))
    if weights is None:
        checks -= chosen_checks(["labels"])
    if fix is not None:
        require_new(fix)
    source = _open(data, images, follow_links)
    if source.format == IMAGES_ALONE and fix is not None:
        raise DataError.at(data, f"has no annotations; --fix {fix} expects labelled images, leave it out")
    if source.format == IMAGES_ALONE:
        checks &= chosen_checks(["images", "copies"])
    require_val_split(val_split, source)
    if val_split != VAL:
        checks -= {"held-out-val"}
    elif fix is None and decode and any(FINDING_KINDS[name].needs_pixels for name in checks):
        source = with_val(source, held_out)
    result = check_data(source, checks=checks, decode=decode, on_progress=on_progress)
    if weights is not None:
        result = _with_label_errors(result, weights, names)
    fixed = write_fixed(result, fix) if fix is not None else None
    by_split = {dataset.split: dataset for dataset in result.datasets} if advice and not only else {}
    trained_on = by_split.get("train", next(iter(by_split.values()), None))
    options = (*(("--images", images) if images else ()), *(("--follow-links",) if follow_links else ()))
    again = command("check", data, *options)
    recommended = None if trained_on is None else advise(trained_on)
    checked = Checked(
        result=result, command=again, fixed=fixed, advice=recommended, files=(*filter(None, (json_file, html)),)
    )
    if json_file is not None:
        write_file(json_file, json.dumps(as_json(checked), indent=1) + "\n")
    if html is not None:
        page = CheckPage(
            title=f"Data check: {Path(data).resolve().name}",
            result=result,
            advice=checked.advice,
            changes=fixed.changes if fixed else (),
            commands=(again, f"{again} --fix CORRECTED"),
        )
        write_file(html, render_check(page))
    return checked


def _open(data: str | Path, images: Path | None, follow_links: bool) -> DataSource:
    """The data set; without annotations, the images alone."""
    path = Path(data)
    images_alone = open_images(path) if images is None else None
    if images_alone is not None and path.is_file():
        return images_alone
    try:
        return open_data(data, images, follow_links=follow_links)
    except NoAnnotations:
        if images_alone is None:
            raise
        get_logger().info(f"{path}: no annotations found; only the image files are checked{described_above(path)}")
        return images_alone if follow_links else bounded(images_alone, path)


def _with_label_errors(result: CheckResult, weights: Path, names: Path | None) -> CheckResult:
    """The result with the contradictions between the labels and the detections of `weights`."""
    from lookonce.evaluation.label_errors import find_label_errors

    runtime = load_runtime(weights, names=names)
    found: list[Finding] = []
    for dataset in result.datasets:
        with progress_bar(f"detect {dataset.split}", len(dataset)) as advance:
            found += find_label_errors(runtime, dataset, lambda done: advance(done, ""))
    findings = (*result.findings, *(one for one in dict.fromkeys(found) if one.name in result.checks))
    return replace(result, findings=findings)


def write_fixed(result: CheckResult, folder: Path) -> Fixed:
    """Write the data set with all automatic fixes, in its own format (COCO if it mixes several)."""
    repaired = repair(result.datasets, result.findings)
    if not repaired.datasets:
        raise DataError.at(result.origin, f"no split can be read, so {folder} was not written; correct the annotations")
    left = [found.message for found in result.sorted_findings if not FINDING_KINDS[found.name].fix]
    head = f"A copy of {result.origin}, corrected by lookonce check --fix."
    made = f"{counted(len(repaired.changes), 'change')}{':' if repaired.changes else ''}"
    undecided = f"{len(left)} left for you to decide{':' if left else ''}"
    notes = {"changes.txt": "\n".join([head, "", made, *repaired.changes, "", undecided, *left, ""])}
    copy = write_data(
        repaired.datasets, folder, to=own_format(result.format), new_names=repaired.new_names, notes=notes
    )
    return Fixed(copy=copy, changes=repaired.changes)


def as_json(checked: Checked) -> dict[str, object]:
    """Content of `--json`: counts, the checks run with their number of findings, and the findings, worst first."""
    result = checked.result
    found = Counter(finding.name for finding in result.findings)
    return {
        "origin": result.origin,
        "format": result.format,
        "class_names": list(result.class_names),
        "num_errors": result.num_errors,
        "num_warnings": result.count("warning"),
        "num_notes": result.count("note"),
        "num_images": result.num_images,
        "seconds": round(result.seconds, 3),
        "splits": [asdict(split) for split in result.splits],
        "checks": [
            {"name": name, "severity": FINDING_KINDS[name].severity, "count": found[name]}
            for name in FINDING_KINDS
            if name in result.checks
        ],
        "findings": [{"severity": finding.severity, **asdict(finding)} for finding in result.sorted_findings],
        "advice": asdict(checked.advice) if checked.advice else None,
        "changes": list(checked.fixed.changes) if checked.fixed else [],
    }


def as_text(checked: Checked, shown: int = 5) -> Iterator[str]:
    """Lines for a terminal: counts of each split, then each kind of finding with its first `shown` messages."""
    result = checked.result
    yield f"{result.origin}: {result.format}, {counted(len(result.class_names), 'class')}"
    for split in result.splits:
        yield from _summary_lines(split)
    for name, group in groupby(result.sorted_findings, key=lambda found: found.name):
        findings = list(group)
        yield f"{FINDING_KINDS[name].severity}: {name} ({len(findings)}): {FINDING_KINDS[name].advice}"
        yield from (f"  {finding.message}" for finding in findings[:shown])
        if len(findings) > shown:
            yield f"  and {len(findings) - shown} more"
    num_read = result.num_images - sum(found.name == "missing-image" for found in result.findings)
    if result.seconds and num_read > 0:
        decoded = any(FINDING_KINDS[name].needs_pixels for name in result.checks)
        images = f"{counted(num_read, 'image')} {'decoded' if decoded else 'checked by their headers'}"
        yield f"{images}, {num_read / max(result.seconds, 1e-3):,.0f} images/s"
    if checked.advice:
        yield from _advice_lines(checked.advice)
    # --fix refuses data without labels, and would leave out boxes that convert-data --boxes reads.
    is_written_otherwise = any(found.name == "box-convention" for found in result.findings)
    is_fixable = bool(result.datasets) and result.format != IMAGES_ALONE and not is_written_otherwise
    if checked.fixed:
        folder, changes = checked.fixed.copy.folder, checked.fixed.changes
        yield f"written: {folder}, corrected copy with {counted(len(changes), 'change')}; see {folder / 'changes.txt'}"
    elif (fixable := sum(bool(FINDING_KINDS[found.name].fix) for found in result.findings)) and is_fixable:
        yield f"`{checked.command} --fix CORRECTED` writes a copy with {counted(fixable, 'finding')} corrected"
    yield from (f"written: {file}" for file in checked.files)
    yield ", ".join(counted(result.count(severity), severity) for severity in SEVERITIES)


def _advice_lines(advice: Advice) -> Iterator[str]:
    yield f"image size, from {counted(advice.objects, 'object')} of split {advice.split!r}:"
    yield "         under   within 4x of an anchor of   cell and  GFLOP per"
    yield "  size    8 px  stride 16 stride 32  either  anchor shared image"
    for row in advice.rows:
        yield (
            f"  {row.image_size:4}{percent(row.tiny):>8}{percent(row.recall_16):>11}{percent(row.recall_32):>10}"
            f"{percent(row.recall):>8}{percent(row.crowded):>13}{row.gflop:9.1f}"
        )
    yield from (f"  {sentence}" for sentence in advice.words)


def _summary_lines(split: SplitSummary) -> Iterator[str]:
    sizes = " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in (split.smallest_wh, split.largest_wh)))
    if not split.class_boxes:
        yield f"  {counted(split.images, 'image')}, {sizes}"
        return
    if not split.images:
        yield f"  {split.split}: 0 images"
        return
    crowd = f", {split.crowd} of them crowd" if split.crowd else ""
    share = percent(split.background / max(split.images, 1))
    images, boxes = counted(split.images, "image"), counted(split.boxes, "box")
    yield f"  {split.split}: {images} ({split.background} without boxes, {share}), {sizes}; {boxes}{crowd}"
    counts = sorted(split.class_boxes.items(), key=lambda item: -item[1])
    yield f"    {few([f'{name} {count}' for name, count in counts], 10)}"
