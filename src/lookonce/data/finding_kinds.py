"""The checks of `check`: one table for the verb, its HTML page, its repairs and the documentation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lookonce.errors import SettingsError
from lookonce.settings.names import suggestion

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class FindingKind:
    """One check. `name` is stable for programs.

    severity: error: training stops; warning: training continues, but an annotation was left out or changed, or a score
    is doubtful; note: information. finds: the problem; advice: what to do. fix: what `check --fix` does, "" where a
    person must decide. needs_pixels: whether images are decoded, which takes nearly all of the time.
    """

    name: str
    severity: Severity
    group: str
    finds: str
    advice: str
    fix: str = ""
    needs_pixels: bool = False


_LEFT_OUT = "left out"
FINDING_KINDS: dict[str, FindingKind] = {
    check.name: check
    for check in (
        # annotations
        FindingKind(
            "unreadable-annotations",
            "error",
            "annotations",
            "the annotations of a whole split cannot be read",
            "correct the named file, or leave the split out",
            _LEFT_OUT,
        ),
        FindingKind(
            "unreadable-annotation",
            "error",
            "annotations",
            "the annotation file of one image cannot be read",
            "write it again, or remove the image from the list",
            _LEFT_OUT,
        ),
        FindingKind(
            "missing-annotation",
            "error",
            "annotations",
            "a listed image has no annotation file",
            "restore the file, or remove the image from the list",
            _LEFT_OUT,
        ),
        FindingKind(
            "malformed-entry",
            "error",
            "annotations",
            "an entry lacks a field or has a value of the wrong type",
            "correct the entry; the message names the expected value",
            _LEFT_OUT,
        ),
        FindingKind(
            "empty-split",
            "error",
            "annotations",
            "a split lists no images",
            "add images, or remove the split from the description",
        ),
        FindingKind(
            "missing-split",
            "warning",
            "annotations",
            "there is no split train, or none for validation",
            "create one: lookonce convert-data SRC DST --split 0.8/0.1/0.1",
        ),
        FindingKind(
            "held-out-val",
            "note",
            "annotations",
            "there is no split val; training holds out a part of train for validation",
            "none needed; to divide the data yourself: lookonce convert-data SRC DST --split 0.8/0.2 --stratify",
        ),
        FindingKind(
            "annotation-without-image",
            "warning",
            "annotations",
            "a box belongs to an image that is not listed",
            "list the image, or delete the box",
            _LEFT_OUT,
        ),
        FindingKind(
            "duplicate-image-id",
            "error",
            "annotations",
            "two images have the same id",
            "give every image a unique id; otherwise its boxes cannot be assigned",
            "the second image left out",
        ),
        FindingKind(
            "duplicate-annotation-id",
            "warning",
            "annotations",
            "two boxes have the same id",
            "renumber the boxes; other programs keep only one of the two",
            "renumbered",
        ),
        FindingKind(
            "no-label-file",
            "warning",
            "annotations",
            "an image has no YOLO label file and counts as background, as one with an empty file does",
            "label it, or write an empty file if it shows no object",
        ),
        FindingKind(
            "label-without-image",
            "warning",
            "annotations",
            "a YOLO label file belongs to no image",
            "restore the image, or correct the file's name: the image's name with the suffix .txt",
            _LEFT_OUT,
        ),
        FindingKind(
            "shared-label-file",
            "error",
            "annotations",
            "two images have one YOLO label file",
            "rename one image and give it a label file of its own",
        ),
        FindingKind(
            "image-without-annotation",
            "warning",
            "annotations",
            "an image beside annotated images has no annotation and is not used",
            "annotate it, or remove it",
            _LEFT_OUT,
        ),
        FindingKind(
            "relocated-image",
            "note",
            "annotations",
            "images are not where the annotations say, and were found by their file names",
            "are these the images? lookonce convert-data writes a copy with the right paths",
        ),
        FindingKind(
            "path-outside-folder",
            "error",
            "annotations",
            "an image's file name points outside the image folder",
            "use paths inside the image folder",
            _LEFT_OUT,
        ),
        FindingKind(
            "link-outside-folder",
            "error",
            "images",
            "an image is read through a symbolic link that leads out of the data set",
            "copy the image there; or, if you trust the links, set --follow-links",
            _LEFT_OUT,
        ),
        # images
        FindingKind(
            "missing-image",
            "error",
            "images",
            "a listed image file does not exist",
            "restore it, or remove it from the list; is --images right?",
            _LEFT_OUT,
        ),
        FindingKind(
            "truncated-image",
            "error",
            "images",
            "an image file is truncated",
            "copy it again from its source",
            _LEFT_OUT,
            needs_pixels=True,
        ),
        FindingKind(
            "missing-end-marker",
            "warning",
            "images",
            "a JPEG file has all its pixels, but not the two bytes that end it",
            "nothing for lookonce; other programs may refuse it: save it again",
            needs_pixels=True,
        ),
        FindingKind(
            "unreadable-image",
            "error",
            "images",
            "an image file is damaged, or is not an image",
            "copy it again, or remove it from the list",
            _LEFT_OUT,
            needs_pixels=True,
        ),
        FindingKind(
            "unreadable-suffix",
            "warning",
            "images",
            "an image has a format that is not read, such as HEIC",
            "save it as JPEG or PNG",
            _LEFT_OUT,
        ),
        FindingKind(
            "wrong-suffix",
            "warning",
            "images",
            "a file's suffix does not match the format of its content",
            "rename it; lookonce reads the format from the content, other programs use the suffix",
            "renamed in the copy",
        ),
        FindingKind(
            "size-differs",
            "error",
            "images",
            "the annotated size is not the image's size",
            "restore the image that was annotated, or annotate this one again",
            _LEFT_OUT,
        ),
        FindingKind(
            "size-before-rotation",
            "error",
            "images",
            "the annotated size is the size before EXIF rotation",
            "rotate the boxes as the image is rotated",
            "the boxes rotated with the image",
        ),
        FindingKind(
            "rotation-unproven",
            "note",
            "images",
            "EXIF rotates the image, and its size does not show whether the boxes were drawn before or after",
            "view the boxes on the upright image",
        ),
        FindingKind(
            "case-clash-image",
            "warning",
            "images",
            "two file names in a folder differ only by upper and lower case",
            "rename one; on Windows and macOS one file replaces the other",
            "one renamed in the copy",
        ),
        # copies
        FindingKind(
            "listed-twice",
            "warning",
            "copies",
            "a split lists an image twice",
            "list it once; otherwise it counts twice",
            "listed once",
        ),
        FindingKind(
            "copied-image",
            "warning",
            "copies",
            "two files of a split have the same bytes",
            "keep one; do both have the same boxes?",
            "the second left out",
            needs_pixels=True,
        ),
        FindingKind(
            "near-copy",
            "warning",
            "copies",
            "an image is nearly the same as another of its split, or its mirror image: a copy, or the next of a burst",
            "keep one, unless both are meant to be there",
            needs_pixels=True,
        ),
        FindingKind(
            "leaked-image",
            "warning",
            "copies",
            "the same image is in two splits",
            "keep it in one split: the score of the other is too high",
            "kept only in the last of the splits",
        ),
        FindingKind(
            "leaked-near-copy",
            "warning",
            "copies",
            "an image is nearly the same as one of another split, or its mirror image: a copy, or the next of a burst",
            "keep it in one split: the score of the other is too high",
            "kept only in the last of the splits",
            needs_pixels=True,
        ),
        FindingKind(
            "same-scene",
            "note",
            "copies",
            "two splits have different images of the same scene",
            "keep them in one split if they show the same objects",
            needs_pixels=True,
        ),
        # boxes
        FindingKind(
            "box-not-finite",
            "error",
            "boxes",
            "a coordinate is NaN or infinite",
            "draw the box again",
            _LEFT_OUT,
        ),
        FindingKind(
            "not-a-fraction",
            "error",
            "boxes",
            "a YOLO label has pixels instead of fractions of the image",
            "divide by the image's width and height",
            _LEFT_OUT,
        ),
        FindingKind(
            "box-convention",
            "error",
            "boxes",
            "most boxes lie outside their image as read, and inside if their numbers mean something else",
            "write a copy: lookonce convert-data SRC DST --boxes NAME, with the name in the message",
        ),
        FindingKind(
            "uniform-rows",
            "warning",
            "boxes",
            "all long YOLO rows have the same length: polygons, or boxes with keypoints?",
            "if they have keypoints, write kpt_shape into the data.yaml",
        ),
        FindingKind(
            "box-without-area",
            "warning",
            "boxes",
            "a box has zero width or height, or swapped corners",
            "draw it again or delete it; training leaves it out, eval counts it as missed",
            _LEFT_OUT,
        ),
        FindingKind(
            "box-outside",
            "warning",
            "boxes",
            "a box extends outside its image",
            "clip it to the image, as training does",
            "clipped to the image",
        ),
        FindingKind(
            "repeated-box",
            "warning",
            "boxes",
            "two boxes of one class overlap (IoU over 0.95)",
            "delete one; otherwise each counts as an object to detect",
            "the second left out",
        ),
        FindingKind(
            "box-of-two-classes",
            "warning",
            "boxes",
            "two boxes of different classes overlap (IoU over 0.95)",
            "keep one class, unless the object is both",
        ),
        FindingKind(
            "tiny-box",
            "note",
            "boxes",
            "a box is under 2 pixels wide or high",
            "is it a labelling error? It cannot be learned",
        ),
        FindingKind(
            "huge-box",
            "note",
            "boxes",
            "a box covers over 95 % of its image",
            "is it an object, or a label of the whole image?",
        ),
        # classes
        FindingKind(
            "unknown-class",
            "error",
            "classes",
            "a box has a class that is not in the class list",
            "add the class, or correct the box",
            _LEFT_OUT,
        ),
        FindingKind(
            "different-classes",
            "error",
            "classes",
            "the splits have different class lists",
            "give all splits the same names in the same order",
            "one class list for all splits, labels matched by name",
        ),
        FindingKind(
            "case-clash-class",
            "warning",
            "classes",
            "two class names differ only by upper and lower case, or by spaces",
            "merge them: lookonce convert-data SRC DST --rename OLD:NEW",
        ),
        FindingKind(
            "no-boxes",
            "error",
            "classes",
            "the training split has no box",
            "are the annotations where lookonce expects them? See docs/data.md",
        ),
        FindingKind(
            "class-without-boxes",
            "warning",
            "classes",
            "a class has no box in the training split",
            "label some, or remove the class: lookonce convert-data SRC DST --classes ...",
        ),
        FindingKind(
            "class-imbalance",
            "warning",
            "classes",
            "a class has over 20 times as many boxes as another",
            "label more objects of the rare class; its AP will be low and unstable",
        ),
        FindingKind(
            "unscored-class",
            "note",
            "classes",
            "a class of the training split has no box in val",
            "split again: lookonce convert-data SRC DST --split 0.8/0.2 --stratify",
        ),
        FindingKind(
            "mostly-background",
            "warning",
            "classes",
            "over 90 % of the training images have no box",
            "are annotations missing? A few per cent of background images are enough",
        ),
        # labels, with --weights only
        FindingKind(
            "unlabelled-object",
            "note",
            "labels",
            "an object is detected (score 0.5 or more) where there is no label",
            "open the image; if it shows an object, label it",
        ),
        FindingKind(
            "doubtful-class",
            "note",
            "labels",
            "a labelled box is detected (score 0.5 or more) as another class",
            "open the image and correct the class if it is wrong",
        ),
        FindingKind(
            "undetected-label",
            "note",
            "labels",
            "no detection overlaps a label, not even with score 0.05",
            "open the image and correct the box if it is wrong; small objects are often just hard to detect",
        ),
    )
}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(check.group for check in FINDING_KINDS.values()))


def chosen_checks(only: Iterable[str] = (), skip: Iterable[str] = ()) -> frozenset[str]:
    """Names of the checks to run: those of `only` (all if empty) without those of `skip`.

    Both take names of checks and of groups. SettingsError for a name that is neither.
    """
    chosen = _named(only) or frozenset(FINDING_KINDS)
    return chosen - _named(skip)


def _named(words: Iterable[str]) -> frozenset[str]:
    names: set[str] = set()
    for word in words:
        name = word.replace("picture", "image")  # the earlier names, which scripts may still use
        if name in FINDING_KINDS:
            names.add(name)
        elif name in GROUPS:
            names.update(check.name for check in FINDING_KINDS.values() if check.group == name)
        else:
            near = (
                suggestion(word, [*FINDING_KINDS, *GROUPS])
                or f"; expected the name of a check, or of a group: {', '.join(GROUPS)}"
            )
            raise SettingsError(f"unknown check {word!r}{near}", value=word)
    return frozenset(names)
