import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lookonce.errors import DataError
from lookonce.workflows.check import as_text, check


def test_findings_are_written_and_shown(shared: Callable[[str], Path], tmp_path: Path) -> None:
    result = check(shared("data/bccd"), json_file=tmp_path / "deep" / "check.json", decode=False)
    written = json.loads((tmp_path / "deep" / "check.json").read_text())
    assert written["num_errors"] == result.num_errors == 0
    assert written["splits"][0]["class_boxes"] == {"RBC": 2381, "WBC": 214, "Platelets": 209}
    assert {finding["severity"] for finding in written["findings"]} == {"warning"}
    lines = list(as_text(result, shown=1))
    assert lines[1] == "  train: 205 pictures (0 without boxes, 0 %), 640x480; 2804 boxes"
    assert "warning: box-without-area (2)" in lines
    assert lines[-2:] == ["  and 1 more", "0 errors, 2 warnings"]


def test_what_is_no_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set"):
        check(tmp_path)
