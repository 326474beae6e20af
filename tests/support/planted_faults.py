"""A data set with 30 faults, planted into synthetic pictures: what was planted has to be found, and no more."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from lookonce.data.synthetic import SceneOptions, write_synthetic

TRAIN, VAL = 40, 14
SIDES = (224, 320)  # pixels: drawing an image takes as long as checking it


@dataclass(frozen=True)
class Fault:
    """check: the name under which it has to be found; file: the name of the file that is meant."""

    check: str
    file: str


@dataclass
class Corpus:
    """The two annotation files while faults go in; every fault takes a picture of its own."""

    folder: Path
    rng: np.random.Generator
    splits: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    untouched: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for split in ("train", "val"):
            self.splits[split] = json.loads(self.json_path(split).read_text())
        # The first boxes of a class may be its only ones in val; nothing is taken away there.
        images = [image["id"] for image in self.splits["train"]["images"] if len(self.boxes(image["id"])) >= 3]
        self.untouched = self.rng.permutation(images).tolist()

    def json_path(self, split: str) -> Path:
        return self.folder / "annotations" / f"instances_{split}2017.json"

    def save(self) -> None:
        for split, content in self.splits.items():
            self.json_path(split).write_text(json.dumps(content))

    def victim(self) -> dict[str, Any]:
        """The entry of a training picture with boxes that nothing was done to."""
        number = self.untouched.pop()
        return next(image for image in self.splits["train"]["images"] if image["id"] == number)

    def path(self, image: dict[str, Any], split: str = "train") -> Path:
        return self.folder / f"{split}2017" / image["file_name"]

    def boxes(self, number: int) -> list[dict[str, Any]]:
        return [box for box in self.splits["train"]["annotations"] if box["image_id"] == number]

    def add_box(self, image: dict[str, Any], **fields: Any) -> None:
        boxes = self.splits["train"]["annotations"]
        defaults = {"id": 1 + max(box["id"] for box in boxes), "category_id": 1, "iscrowd": 0}
        boxes.append({**defaults, "image_id": image["id"], **fields})

    def drop_boxes(self, image: dict[str, Any]) -> None:
        content = self.splits["train"]
        content["annotations"] = [box for box in content["annotations"] if box["image_id"] != image["id"]]

    def add_image(self, name: str, like: dict[str, Any], split: str = "train", **fields: Any) -> Path:
        """Another entry, without boxes; where its file has to go."""
        images = self.splits[split]["images"]
        images.append({**like, "id": 1 + max(image["id"] for image in images), "file_name": name, **fields})
        return self.folder / f"{split}2017" / name


Plant = Callable[[Corpus], Fault]


def _truncated(corpus: Corpus) -> Fault:
    path = corpus.path(corpus.victim())
    path.write_bytes(path.read_bytes()[: int(corpus.rng.integers(3000, 6000))])
    return Fault("truncated-image", path.name)


def _no_image(corpus: Corpus) -> Fault:
    path = corpus.path(corpus.victim())
    path.write_bytes(b"<html>404 not found</html>")
    return Fault("unreadable-image", path.name)


def _empty_file(corpus: Corpus) -> Fault:
    path = corpus.path(corpus.victim())
    path.write_bytes(b"")
    return Fault("unreadable-image", path.name)


def _wrong_suffix(corpus: Corpus) -> Fault:
    path = corpus.path(corpus.victim())
    Image.open(path).save(path, format="PNG")
    return Fault("wrong-suffix", path.name)


def _turned(corpus: Corpus, orientation: int) -> Path:
    """A viewer now turns the picture; the annotation is what it was."""
    victim = corpus.victim()
    while victim["width"] == victim["height"]:
        victim = corpus.victim()
    path = corpus.path(victim)
    tags = Image.Exif()
    tags[0x0112] = orientation
    image = Image.open(path)
    image.load()
    image.save(path, quality=95, exif=tags)
    return path


def _before_rotation(corpus: Corpus) -> Fault:
    return Fault("size-before-rotation", _turned(corpus, 6).name)


def _upside_down(corpus: Corpus) -> Fault:
    return Fault("rotation-unproven", _turned(corpus, 3).name)


def _other_size(corpus: Corpus) -> Fault:
    image = corpus.victim()
    image["width"] += 7
    return Fault("size-differs", image["file_name"])


def _missing(corpus: Corpus) -> Fault:
    path = corpus.path(corpus.victim())
    path.unlink()
    return Fault("missing-image", path.name)


def _leaves_folder(corpus: Corpus) -> Fault:
    image = corpus.victim()
    corpus.drop_boxes(image)
    image["file_name"] = f"../elsewhere/not-{image['file_name']}"
    return Fault("path-outside-folder", corpus.json_path("train").name)


def _image_id_twice(corpus: Corpus) -> Fault:
    first, second = sorted((corpus.victim(), corpus.victim()), key=lambda image: image["id"])
    corpus.drop_boxes(second)
    second["id"] = first["id"]
    return Fault("duplicate-image-id", corpus.json_path("train").name)


def _box_id_twice(corpus: Corpus) -> Fault:
    first, second = corpus.boxes(corpus.victim()["id"])[:2]
    second["id"] = first["id"]
    return Fault("duplicate-annotation-id", corpus.json_path("train").name)


def _listed_twice(corpus: Corpus) -> Fault:
    image = corpus.victim()
    corpus.add_image(image["file_name"], image)
    return Fault("listed-twice", image["file_name"])


def _same_bytes(corpus: Corpus) -> Fault:
    image = corpus.victim()
    path = corpus.add_image("copy.jpg", image)
    shutil.copyfile(corpus.path(image), path)
    return Fault("copied-image", path.name)


def _half_size(corpus: Corpus) -> Fault:
    image = corpus.victim()
    width, height = image["width"] // 2, image["height"] // 2
    path = corpus.add_image("half.png", image, width=width, height=height)
    Image.open(corpus.path(image)).resize((width, height)).save(path)
    return Fault("near-copy", path.name)


def _encoded_again(corpus: Corpus) -> Fault:
    image = corpus.victim()
    path = corpus.add_image("again.jpg", image)
    Image.open(corpus.path(image)).save(path, quality=int(corpus.rng.integers(25, 60)))
    return Fault("near-copy", path.name)


def _mirrored(corpus: Corpus) -> Fault:
    image = corpus.victim()
    path = corpus.add_image("mirrored.jpg", image)
    ImageOps.mirror(Image.open(corpus.path(image))).save(path, quality=90)
    return Fault("near-copy", path.name)


def _leaked(corpus: Corpus) -> Fault:
    image = corpus.victim()
    path = corpus.add_image("leaked.jpg", image, "val")
    shutil.copyfile(corpus.path(image), path)
    return Fault("leaked-image", path.name)


def _leaked_smaller(corpus: Corpus) -> Fault:
    image = corpus.victim()
    path = corpus.add_image("leaked.webp", image, "val", width=256, height=256)
    Image.open(corpus.path(image)).resize((256, 256)).save(path, quality=80)
    return Fault("leaked-near-copy", path.name)


def _case_clash(corpus: Corpus) -> Fault:
    first, second = sorted((corpus.victim(), corpus.victim()), key=lambda image: image["id"])
    for image, name in ((first, "photo.jpg"), (second, "Photo.JPG")):
        old = corpus.path(image)
        image["file_name"] = name
        old.rename(corpus.path(image))
    return Fault("case-clash-image", second["file_name"])


def _box(check: str, make: Callable[[dict[str, Any], list[float]], list[float]]) -> Plant:
    """A fault of one box: make(picture, its first box as xywh) -> the box to add."""

    def plant(corpus: Corpus) -> Fault:
        image = corpus.victim()
        first = corpus.boxes(image["id"])[0]
        corpus.add_box(image, bbox=make(image, first["bbox"]), category_id=first["category_id"])
        return Fault(check, image["file_name"])

    return plant


def _two_classes(corpus: Corpus) -> Fault:
    image = corpus.victim()
    first = corpus.boxes(image["id"])[0]
    corpus.add_box(image, bbox=first["bbox"], category_id=first["category_id"] % 3 + 1)
    return Fault("box-of-two-classes", image["file_name"])


def _unknown_class(corpus: Corpus) -> Fault:
    corpus.add_box(corpus.victim(), bbox=[5, 5, 20, 20], category_id=4711)
    return Fault("unknown-class", corpus.json_path("train").name)


def _without_image(corpus: Corpus) -> Fault:
    corpus.add_box({"id": 4711}, bbox=[5, 5, 20, 20])
    return Fault("annotation-without-image", corpus.json_path("train").name)


def _three_numbers(corpus: Corpus) -> Fault:
    corpus.add_box(corpus.victim(), bbox=[5, 5, 20])
    return Fault("malformed-entry", corpus.json_path("train").name)


def _class_without_boxes(corpus: Corpus) -> Fault:
    for content in corpus.splits.values():
        content["categories"].append({"id": 90, "name": "unicorn"})
    return Fault("class-without-boxes", "train")


FAULTS: tuple[Plant, ...] = (
    _truncated,
    _no_image,
    _empty_file,
    _wrong_suffix,
    _before_rotation,
    _upside_down,
    _other_size,
    _missing,
    _leaves_folder,
    _image_id_twice,
    _box_id_twice,
    _listed_twice,
    _same_bytes,
    _half_size,
    _encoded_again,
    _mirrored,
    _leaked,
    _leaked_smaller,
    _case_clash,
    _box("box-outside", lambda image, _: [image["width"] - 20.0, 10.0, 60.0, 30.0]),
    _box("box-without-area", lambda _, box: [box[0], box[1], 0.0, box[3]]),
    _box("box-not-finite", lambda _, box: [box[0], float("nan"), box[2], box[3]]),
    _box("tiny-box", lambda _image, _box: [5.0, 5.0, 1.5, 20.0]),
    _box("huge-box", lambda image, _: [1.0, 1.0, image["width"] - 2.0, image["height"] - 2.0]),
    _box("repeated-box", lambda _, box: [box[0], box[1], box[2] * 0.98, box[3]]),
    _two_classes,
    _unknown_class,
    _without_image,
    _three_numbers,
    _class_without_boxes,
)


@pytest.fixture(scope="session")
def clean_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic images with nothing wrong; for reading, and to be copied."""
    options = SceneOptions(sides=SIDES)
    return write_synthetic(tmp_path_factory.mktemp("clean") / "data", train=TRAIN, val=VAL, options=options)


def plant_faults(folder: Path, *, seed: int = 0) -> list[Fault]:
    """Plants every one of FAULTS into a copy of `clean_data`."""
    corpus = Corpus(folder, np.random.default_rng(seed))
    faults = [plant(corpus) for plant in FAULTS]
    corpus.save()
    return faults
