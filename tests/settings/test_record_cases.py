"""Records that were edited: the verdicts of tests/record_cases.json, which cpp/tests/test_record.cc reads, too."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from lookonce.settings.record import parse_record

TABLE = json.loads((Path(__file__).parents[1] / "record_cases.json").read_text(encoding="utf-8"))
HOLE = "in place of a text"


def edited(case: dict[str, Any]) -> str:
    """The table's record with one change."""
    root = {"": copy.deepcopy(TABLE["record"])}
    *parents, last = case["at"].split("/")
    container: Any = root
    for key in parents:
        container = container[int(key) if isinstance(container, list) else key]
    if "value" in case or "text" in case:
        container[int(last) if isinstance(container, list) else last] = case.get("value", HOLE)
    else:
        del container[last]
    return json.dumps(root[""]).replace(json.dumps(HOLE), case.get("text", ""))


def test_the_record_itself_is_accepted() -> None:
    assert parse_record(json.dumps(TABLE["record"])).image_size == (64, 96)


def test_changes_within_the_ranges_are_accepted() -> None:
    for case in TABLE["accepted"]:
        parse_record(edited(case))


def test_wrong_values_are_refused() -> None:
    for case in TABLE["refused"]:
        with pytest.raises(ValueError) as caught:
            parse_record(edited(case))
        assert type(caught.value) is ValueError, case


@pytest.mark.parametrize("place", ["masks.1", "image_size.0", "preprocessing.std.2", "class_names", "thresholds.iou"])
def test_the_error_names_the_place(place: str) -> None:
    case = {"at": "/" + place.replace(".", "/"), "value": [-1] if place == "masks.1" else 0}
    with pytest.raises(ValueError) as caught:
        parse_record(edited(case))
    assert place in str(caught.value)
