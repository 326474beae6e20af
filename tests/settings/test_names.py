"""Numbers and nouns agree."""

import pytest

from lookonce.settings.names import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (3, "class", "3 classes"),
        (1200, "batch", "1,200 batches"),
        (2, "epoch", "2 epochs"),
    ],
)
def test_number_and_noun_agree(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
