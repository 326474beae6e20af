import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lookonce.errors import DataError, SettingsError
from lookonce.workflows.check import as_text, check


def test_findings_are_written_and_shown(shared: Callable[[str], Path], tmp_path: Path) -> None:
    result = check(shared("data/bccd"), json_file=tmp_path / "deep" / "check.json", decode=False)
    written = json.loads((tmp_path / "deep" / "check.json").read_text())
    assert written["num_errors"] == result.num_errors == 0
    assert written["splits"][0]["class_boxes"] == {"RBC": 2381, "WBC": 214, "Platelets": 209}
    assert {finding["severity"] for finding in written["findings"]} == {"warning"}
    lines = list(as_text(result, shown=1))
    assert lines[1] == "  train: 205 pictures (0 without boxes, 0 %), 640x480; 2804 boxes"
    assert "warning: box-without-area (2): draw it again or delete it; training leaves it out" in lines
    assert lines[-3] == "  and 1 more"
    assert lines[-2].startswith("364 pictures looked at by their headers, ")
    assert lines[-1] == "0 errors, 2 warnings, 0 notes"


def test_what_is_no_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set"):
        check(tmp_path)


def test_checks_are_chosen_by_name_or_group(shared: Callable[[str], Path]) -> None:
    data = shared("data/bccd")
    assert check(data, only=["copies"]).checks >= {"near-copy", "leaked-picture"}
    assert not check(data, skip=["boxes,copies"], decode=False).findings
    with pytest.raises(SettingsError, match=r"unknown check tiny-boxes; did you mean tiny-box\?"):
        check(data, only=["tiny-boxes"])


def test_the_scene_that_two_splits_of_bccd_share_is_noted_and_no_copy_is_claimed(shared: Callable[[str], Path]) -> None:
    """BloodImage_00037 (val) is BloodImage_00038 (train) in another focus; no two of the 364 are copies."""
    findings = check(shared("data/bccd"), only=["copies"]).findings
    assert [(finding.name, Path(finding.file).stem, Path(finding.twin).stem) for finding in findings] == [
        ("same-scene", "BloodImage_00037", "BloodImage_00038")
    ]
