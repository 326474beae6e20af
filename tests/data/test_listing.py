import unicodedata

import pytest

from lookonce.data.listing import Locator

FILES = ["images/train/a.jpg", "images/val/a.jpg", "images/train/b.jpg", "x/1/c.png", "x/2/c.png", "d.jpeg"]


@pytest.mark.parametrize(
    ("written", "split", "found"),
    [
        ("b.jpg", None, "images/train/b.jpg"),
        ("images\\train\\b.jpg", None, "images/train/b.jpg"),
        ("C:\\me\\set\\d.jpeg", None, "d.jpeg"),
        ("file:///home/me/my%20set/d.jpeg", None, "d.jpeg"),
        ("https://host/bucket/d.jpeg?signature=1", None, "d.jpeg"),
        ("/data/local-files/?d=set/d.jpeg", None, "d.jpeg"),
        ("../../D.JPEG", None, "d.jpeg"),
        ("a.jpg", None, None),  # two candidates
        ("a.jpg", "val", "images/val/a.jpg"),
        ("set/train/a.jpg", "val", "images/train/a.jpg"),  # what is written counts more than the split that is asked
        ("set/val/b.jpg", None, None),  # b.jpg is an image of another split
        ("c.png", None, None),
        ("2/c.png", None, "x/2/c.png"),
        ("3/c.png", None, None),
        ("c.jpg", None, None),  # another suffix is another file
        ("", None, None),
        ("..", None, None),
    ],
)
def test_a_written_path_means_one_file_or_none(written: str, split: str | None, found: str | None) -> None:
    assert Locator(FILES).find(written, split) == found


def test_without_suffixes_two_images_of_one_stem_are_none() -> None:
    locator = Locator(["a/x.jpg", "a/x.png", "a/y.v2.jpg"], stems=True)
    assert locator.find("x") is None
    assert locator.find("a/x.jpg") is None
    assert locator.find("y.v2") == "a/y.v2.jpg"


def test_names_that_differ_in_case_only_are_two_files() -> None:
    assert Locator(["a.jpg", "A.jpg"]).find("a.jpg") is None


def test_accents_may_be_decomposed() -> None:
    assert Locator([unicodedata.normalize("NFD", "ä.jpg")]).find("ä.jpg") == unicodedata.normalize("NFD", "ä.jpg")
