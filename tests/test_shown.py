import re
from pathlib import Path

import pytest

from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.prediction.video import VIDEO_SUFFIXES
from lookonce.shown import UNDEFINED, file_size, percent, three_digits


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.0005, "0.1 %"),
        (0.016, "1.6 %"),
        (0.094, "9.4 %"),
        (0.5049, "50 %"),
        (0.993, "99.3 %"),
        (0.9999, ">99.9 %"),
        (1.0, "100 %"),
        (1.2, "120 %"),
    ],
)
def test_only_none_is_0_percent_and_only_all_are_100(share: float, text: str) -> None:
    assert percent(share) == text


def test_no_share_between_none_and_all_is_shown_as_one_of_the_two() -> None:
    shares = [1 / number for number in range(2, 5000)]
    texts = {percent(share) for share in (*shares, *(1 - share for share in shares))}
    assert not texts & {"0 %", "100 %"}


def test_a_share_is_turned_into_per_cent_in_one_place_only() -> None:
    formats = re.compile(r":[<>]?\d*\.\d%\}|\{100 \*[^}]*:[^}]*\} %")
    found = [path.name for path in Path("src").rglob("*.py") if formats.search(path.read_text())]
    assert found == ["check_boxes.py"]  # the limit of a check, which is no measured share


def test_a_small_file_is_not_0_megabytes() -> None:
    sizes = (0, 1, 34_200, 100_000, 2_240_000)
    assert [file_size(size) for size in sizes] == ["0 kB", "1 kB", "35 kB", "0.1 MB", "2.2 MB"]


def test_a_metric_without_objects_is_a_dash() -> None:
    assert (three_digits(0.0), three_digits(0.25), three_digits(UNDEFINED)) == ("0.000", "0.250", "-")


def test_the_page_of_predict_lists_every_suffix_that_a_folder_is_searched_for() -> None:
    listed = re.findall(r"`(\.\w+)`", Path("docs/predict.md").read_text().partition("## Outputs")[0])
    assert set(listed) >= IMAGE_SUFFIXES | VIDEO_SUFFIXES
