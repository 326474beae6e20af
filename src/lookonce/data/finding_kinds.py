"""The checks of `check`: one table for the verb, its HTML page, its repairs and the documentation."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from lookonce.errors import SettingsError
from lookonce.settings.names import suggested_value

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


# A group; its checks, each with severity, whether it decodes images, and the fix, if any; what it finds, and advice.
_TABLE = """
annotations
  unreadable-annotations, error: left out
    the annotations of a whole split cannot be read -- correct the named file, or leave the split out
  unreadable-annotation, error: left out
    the annotation file of one image cannot be read -- write it again, or remove the image from the list
  missing-annotation, error: left out
    a listed image has no annotation file -- restore the file, or remove the image from the list
  malformed-entry, error: left out
    an entry lacks a field or has a value of the wrong type -- correct the entry; the message names the expected value
  empty-split, error
    a split lists no images -- add images, or remove the split from the description
  missing-split, warning
    there is no split train, none for validation, or no test split where the description says
    create one: lookonce convert-data SRC DST --split 0.8/0.1/0.1; or remove its entry
  held-out-val, note
    there is no split val; training holds out a part of train for validation
    none needed; to divide the data yourself: lookonce convert-data SRC DST --split 0.8/0.2 --stratify
  annotation-without-image, warning: left out
    a box belongs to an image that is not listed -- list the image, or delete the box
  duplicate-image-id, error: the second image left out
    two images have the same id -- give every image a unique id; otherwise its boxes cannot be assigned
  duplicate-annotation-id, warning: renumbered
    two boxes have the same id -- renumber the boxes; other programs keep only one of the two
  no-label-file, warning
    an image has no YOLO label file and counts as background, as one with an empty file does
    label it, or write an empty file if it shows no object
  label-without-image, warning: left out
    a YOLO label file belongs to no image
    restore the image, or correct the file's name: the image's name with the suffix .txt
  shared-label-file, error
    two images have one YOLO label file -- rename one image and give it a label file of its own
  image-without-annotation, warning: left out
    an image beside annotated images has no annotation and is not used -- annotate it, or remove it
  relocated-image, note
    images are not where the annotations say, and were found by their file names
    are these the images? lookonce convert-data writes a copy with the right paths
  path-outside-folder, error: left out
    an image's file name points outside the image folder -- use paths inside the image folder
images
  link-outside-folder, error: left out
    an image is read through a symbolic link that leads out of the data set
    copy the image there; or, if you trust the links, set --follow-links
  missing-image, error: left out
    an image file that the annotations name does not exist -- restore it, or remove its annotations; is --images right?
  truncated-image, error, pixels: left out
    an image file is truncated -- copy it again from its source
  missing-end-marker, warning, pixels
    a JPEG file has all its pixels, but not the two bytes that end it
    nothing for lookonce; other programs may refuse it: save it again
  unreadable-image, error, pixels: left out
    an image file is damaged, or is not an image -- copy it again, or remove it from the list
  unreadable-suffix, warning: left out
    an image has a format that is not read, such as HEIC -- save it as JPEG or PNG
  wrong-suffix, warning: renamed in the copy
    a file's suffix does not match the format of its content
    rename it; lookonce reads the format from the content, other programs use the suffix
  size-differs, error: left out
    the annotated size is not the image's size -- restore the image that was annotated, or annotate this one again
  size-before-rotation, error: the boxes rotated with the image
    the annotated size is the size before EXIF rotation -- rotate the boxes as the image is rotated
  rotation-unproven, note
    EXIF rotates the image, and its size does not show whether the boxes were drawn before or after
    view the boxes on the upright image
  case-clash-image, warning: one renamed in the copy
    two file names in a folder differ only by upper and lower case
    rename one; on Windows and macOS one file replaces the other
copies
  listed-twice, warning: listed once
    a split lists an image twice -- list it once; otherwise it counts twice
  copied-image, warning, pixels: the second left out
    two files of a split have the same bytes -- keep one; do both have the same boxes?
  near-copy, warning, pixels
    an image is nearly the same as another of its split, or its mirror image: a copy, or the next of a burst
    keep one, unless both are meant to be there
  leaked-image, warning: kept only in the last of the splits
    the same image is in two splits -- keep it in one split: the score of the other is too high
  leaked-near-copy, warning, pixels: kept only in the last of the splits
    an image is nearly the same as one of another split, or its mirror image: a copy, or the next of a burst
    keep it in one split: the score of the other is too high
  same-scene, note, pixels
    two splits have different images of the same scene -- keep them in one split if they show the same objects
boxes
  box-not-finite, error: left out
    a coordinate is NaN or infinite -- draw the box again
  not-a-fraction, error: left out
    a YOLO label has pixels instead of fractions of the image -- divide by the image's width and height
  box-convention, error
    most boxes lie outside their image as read, and inside if their numbers mean something else
    write a copy: lookonce convert-data SRC DST --boxes NAME, with the name in the message
  uniform-rows, warning
    all long YOLO rows have the same length: polygons, or boxes with keypoints?
    if they have keypoints, write kpt_shape into the data.yaml
  joined-rows, warning
    a YOLO row has the length of two or more boxes without the line end between them, and is read as a polygon
    break the row before the class of the second box, if they are boxes
  box-without-area, warning: left out
    a box has zero width or height, or swapped corners
    draw it again or delete it; training leaves it out, eval counts it as missed
  box-outside, warning: clipped, or left out if no part is inside
    a box extends outside its image
    draw it again or clip it; training clips it, and leaves it out if no part is inside
  repeated-box, warning: the second left out
    two boxes of one class overlap (IoU over 0.95) -- delete one; otherwise each counts as an object to detect
  box-of-two-classes, warning
    two boxes of different classes overlap (IoU over 0.95) -- keep one class, unless the object is both
  tiny-box, note
    a box is under 2 pixels wide or high -- is it a labelling error? It cannot be learned
  huge-box, note
    a box covers over 95 % of its image -- is it an object, or a label of the whole image?
classes
  unknown-class, error: left out
    a box has a class that is not in the class list -- add the class, or correct the box
  different-classes, error: one class list for all splits, labels matched by name
    the splits have different class lists -- give all splits the same names in the same order
  case-clash-class, warning
    two class names differ only by upper and lower case, or by spaces
    merge them: lookonce convert-data SRC DST --rename OLD:NEW
  misspelt-class, warning
    a class is spelled as one with over 10 times as many boxes, but for one letter
    if they are the same class, merge them: lookonce convert-data SRC DST --rename OLD:NEW
  no-boxes, error
    the training split has no box -- are the annotations where lookonce expects them? See docs/data.md
  class-without-boxes, warning
    a class has no box in the training split
    label some, or remove the class: lookonce convert-data SRC DST --classes ...
  class-imbalance, warning
    a class has over 20 times as many boxes as another
    label more objects of the rare class; its AP will be low and unstable
  unscored-class, note
    a class of the training split has no box in val
    split again: lookonce convert-data SRC DST --split 0.8/0.2 --stratify
  mostly-background, warning
    over 90 % of the training images have no box
    are annotations missing? A few per cent of background images are enough
labels
  unlabelled-object, note
    an object is detected (score 0.5 or more) where there is no label -- open the image; if it shows an object, label it
  doubtful-class, note
    a labelled box is detected (score 0.5 or more) as another class
    open the image and correct the class if it is wrong
  undetected-label, note
    no detection overlaps a label, not even with score 0.05
    open the image and correct the box if it is wrong; small objects are often just hard to detect
"""


def _rows() -> Iterator[FindingKind]:
    for group, checks in re.findall(r"^(\w+)\n((?: .*\n)+)", _TABLE, re.MULTILINE):
        for head, fix, words in re.findall(r"^  (\S[^:\n]*)(?:: (.*))?\n((?:    .*\n)+)", checks, re.MULTILINE):
            name, severity, *pixels = head.split(", ")
            finds, advice = re.split(r" -- |\n +", words.strip())
            yield FindingKind(name, severity, group, finds, advice, fix, needs_pixels=bool(pixels))


FINDING_KINDS: dict[str, FindingKind] = {check.name: check for check in _rows()}
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
                suggested_value(word, [*FINDING_KINDS, *GROUPS])
                or f"; expected the name of a check, or of a group: {', '.join(GROUPS)}"
            )
            raise SettingsError(f"unknown check {word!r}{near}", value=word)
    return frozenset(names)
