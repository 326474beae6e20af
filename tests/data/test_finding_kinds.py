from pathlib import Path

from raised import raises

from lookonce.data.finding_kinds import FINDING_KINDS, GROUPS, chosen_checks
from lookonce.errors import SettingsError

DOCS = Path(__file__).parents[2] / "docs" / "check.md"


def test_every_check_stands_in_its_document_with_severity_and_advice() -> None:
    page = DOCS.read_text()
    for check in FINDING_KINDS.values():
        assert f"| `{check.name}` | {check.severity} | {check.finds} | {check.advice} | {check.fix or '–'} |" in page


def test_checks_are_chosen_by_name_and_by_group() -> None:
    assert chosen_checks() == frozenset(FINDING_KINDS)
    assert chosen_checks(["tiny-box"]) == {"tiny-box"}
    boxes = chosen_checks(["boxes"])
    assert {FINDING_KINDS[name].group for name in boxes} == {"boxes"}
    assert chosen_checks(["boxes"], ["tiny-box"]) == boxes - {"tiny-box"}
    assert chosen_checks(skip=GROUPS) == frozenset()


def test_a_name_that_is_no_check_is_refused_with_the_nearest() -> None:
    with raises(SettingsError, "box-outside", value="box-outsid"):
        chosen_checks(["box-outsid"])
    with raises(SettingsError, *GROUPS, value="qqqqqqqqq"):
        chosen_checks(skip=["qqqqqqqqq"])


def test_the_earlier_name_of_a_group_still_chooses_it() -> None:
    assert chosen_checks(["pictures"]) == chosen_checks(["images"]) != frozenset()
