"""What `check` looks for: the one table that the verb, its page, its repairs and the documents are made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lookonce.config.names import suggestion
from lookonce.errors import SettingsError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class FindingKind:
    """One thing that is looked for. `name` is stable for programs.

    error: training cannot or must not go on. warning: it goes on, and something was left out, changed or makes a score
    doubtful. note: worth knowing. fix: what `check --fix` does about it, "" where only a person can tell.
    needs_pixels: whether pictures have to be decoded, which takes nearly all of the time.
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
            "mend the file named, or leave the split out",
            _LEFT_OUT,
        ),
        FindingKind(
            "unreadable-annotation",
            "error",
            "annotations",
            "the annotation file of one picture cannot be read",
            "write it again, or take the picture from the list",
            _LEFT_OUT,
        ),
        FindingKind(
            "missing-annotation",
            "error",
            "annotations",
            "a listed picture has no annotation file",
            "restore the file, or take the picture from the list",
            _LEFT_OUT,
        ),
        FindingKind(
            "malformed-entry",
            "error",
            "annotations",
            "an entry lacks a field or holds a value of the wrong kind",
            "correct the entry; the message says what was expected",
            _LEFT_OUT,
        ),
        FindingKind(
            "empty-split",
            "error",
            "annotations",
            "a split lists no picture",
            "fill it, or take it from the description",
        ),
        FindingKind(
            "missing-split",
            "warning",
            "annotations",
            "there is no split train or val",
            "make one: lookonce convert-data SRC DST --split 0.8/0.1/0.1",
        ),
        FindingKind(
            "annotation-without-picture",
            "warning",
            "annotations",
            "a box belongs to a picture that is not listed",
            "list the picture, or delete the box",
            _LEFT_OUT,
        ),
        FindingKind(
            "duplicate-picture-id",
            "error",
            "annotations",
            "two pictures have the same id",
            "give every picture an id of its own; nobody can tell whose the boxes are",
            "the second picture left out",
        ),
        FindingKind(
            "duplicate-annotation-id",
            "warning",
            "annotations",
            "two boxes have the same id",
            "number the boxes anew; other programs keep only one of the two",
            "numbered anew",
        ),
        FindingKind(
            "path-outside-folder",
            "error",
            "annotations",
            "a picture's name leads out of the picture folder",
            "name pictures inside the folder",
            _LEFT_OUT,
        ),
        # pictures
        FindingKind(
            "missing-picture",
            "error",
            "pictures",
            "a listed picture is not there",
            "restore it, or take it from the list; is --images right?",
            _LEFT_OUT,
        ),
        FindingKind(
            "truncated-picture",
            "error",
            "pictures",
            "a picture file ends too early",
            "copy it again from where it came from",
            _LEFT_OUT,
            needs_pixels=True,
        ),
        FindingKind(
            "unreadable-picture",
            "error",
            "pictures",
            "a picture is damaged, or no picture",
            "copy it again, or take it from the list",
            _LEFT_OUT,
            needs_pixels=True,
        ),
        FindingKind(
            "wrong-suffix",
            "warning",
            "pictures",
            "a file's name says another format than its content",
            "rename it; lookonce looks at the content, other programs do not",
            "renamed in the copy",
        ),
        FindingKind(
            "size-differs",
            "error",
            "pictures",
            "the annotated size is not the picture's",
            "find the picture that was annotated, or annotate this one",
            _LEFT_OUT,
        ),
        FindingKind(
            "size-before-rotation",
            "error",
            "pictures",
            "the annotated size is that before EXIF rotation",
            "turn the boxes as the picture is turned",
            "the boxes turned with the picture",
        ),
        FindingKind(
            "rotation-unproven",
            "note",
            "pictures",
            "EXIF turns the picture, and its size cannot tell whether the boxes were drawn before",
            "look at the boxes on the upright picture",
        ),
        FindingKind(
            "case-clash-picture",
            "warning",
            "pictures",
            "two names in a folder differ only by upper and lower case",
            "rename one; on Windows and macOS one file replaces the other",
            "one renamed in the copy",
        ),
        # copies
        FindingKind(
            "listed-twice",
            "warning",
            "copies",
            "a split lists a picture twice",
            "list it once; it counts twice",
            "listed once",
        ),
        FindingKind(
            "copied-picture",
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
            "a picture is another one of its split, resized, re-encoded or mirrored",
            "keep one, unless it is meant as augmentation",
            needs_pixels=True,
        ),
        FindingKind(
            "leaked-picture",
            "warning",
            "copies",
            "the same picture is in two splits",
            "keep it in one: the score of the other is too good",
            "kept in the last of the splits alone",
        ),
        FindingKind(
            "leaked-near-copy",
            "warning",
            "copies",
            "a picture is one of another split, resized, re-encoded or mirrored",
            "keep it in one: the score of the other is too good",
            "kept in the last of the splits alone",
            needs_pixels=True,
        ),
        FindingKind(
            "same-scene",
            "note",
            "copies",
            "two splits have pictures of the same scene, taken again",
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
            "a YOLO label holds pixels in place of fractions",
            "divide by the picture's width and height",
            _LEFT_OUT,
        ),
        FindingKind(
            "box-without-area",
            "warning",
            "boxes",
            "a box is nothing wide or high, or its corners are exchanged",
            "draw it again or delete it; training leaves it out",
            _LEFT_OUT,
        ),
        FindingKind(
            "box-outside",
            "warning",
            "boxes",
            "a box reaches outside its picture",
            "cut it at the edge, as training does",
            "cut at the edge",
        ),
        FindingKind(
            "repeated-box",
            "warning",
            "boxes",
            "two boxes of a class lie on each other (IoU over 0.95)",
            "delete one; each would have to be found",
            "the second left out",
        ),
        FindingKind(
            "box-of-two-classes",
            "warning",
            "boxes",
            "two boxes of different classes lie on each other (IoU over 0.95)",
            "decide for one class, unless the object is both",
        ),
        FindingKind(
            "tiny-box",
            "note",
            "boxes",
            "a box is under 2 pixels wide or high",
            "is it a slip of the mouse? It cannot be learned",
        ),
        FindingKind(
            "huge-box",
            "note",
            "boxes",
            "a box covers over 95 % of its picture",
            "is it an object, or a label of the whole picture?",
        ),
        # classes
        FindingKind(
            "unknown-class",
            "error",
            "classes",
            "a box is of a class that is not in the list",
            "add the class, or correct the box",
            _LEFT_OUT,
        ),
        FindingKind(
            "different-classes",
            "error",
            "classes",
            "the splits have different class lists",
            "give all splits the same names in the same order",
            "one list for all splits, boxes numbered by name",
        ),
        FindingKind(
            "case-clash-class",
            "warning",
            "classes",
            "two class names differ only by upper and lower case, or by spaces",
            "make them one: lookonce convert-data SRC DST --rename OLD:NEW",
        ),
        FindingKind(
            "no-boxes",
            "error",
            "classes",
            "the training split has no box",
            "do the annotations lie where lookonce looks? See docs/data.md",
        ),
        FindingKind(
            "class-without-boxes",
            "warning",
            "classes",
            "a class has no box to learn from",
            "label some, or drop it: lookonce convert-data SRC DST --classes ...",
        ),
        FindingKind(
            "class-imbalance",
            "warning",
            "classes",
            "a class has over 20 times as many boxes as another",
            "label more of the rare one; its score will be poor and shaky",
        ),
        FindingKind(
            "unscored-class",
            "note",
            "classes",
            "a class that is learned has no box in val",
            "split anew: lookonce convert-data SRC DST --split 0.8/0.2 --stratify",
        ),
        FindingKind(
            "mostly-background",
            "warning",
            "classes",
            "over 90 % of the training pictures have no box",
            "are annotations missing? A few per cent are plenty",
        ),
    )
}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(check.group for check in FINDING_KINDS.values()))


def chosen_checks(only: Iterable[str] = (), skip: Iterable[str] = ()) -> frozenset[str]:
    """Names of the checks to make: those of `only` (all, where it is empty) without those of `skip`.

    Either may hold names of checks and of groups. SettingsError for a name that is neither.
    """
    chosen = _named(only) or frozenset(FINDING_KINDS)
    return chosen - _named(skip)


def _named(words: Iterable[str]) -> frozenset[str]:
    names: set[str] = set()
    for word in words:
        if word in FINDING_KINDS:
            names.add(word)
        elif word in GROUPS:
            names.update(check.name for check in FINDING_KINDS.values() if check.group == word)
        else:
            near = (
                suggestion(word, [*FINDING_KINDS, *GROUPS])
                or f"; expected a check's name or one of {', '.join(GROUPS)}"
            )
            raise SettingsError(f"unknown check {word}{near}", value=word)
    return frozenset(names)
