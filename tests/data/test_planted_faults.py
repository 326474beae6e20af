import shutil
from collections import Counter
from pathlib import Path

import pytest
from planted_faults import FAULTS, plant_faults

from lookonce.data.check import check_data
from lookonce.data.source import open_data


def test_a_clean_data_set_raises_no_alarm(clean_data: Path) -> None:
    result = check_data(open_data(clean_data))
    assert result.findings == ()


@pytest.mark.parametrize("seed", range(3))
def test_thirty_planted_faults_are_found_and_nothing_else(clean_data: Path, tmp_path: Path, seed: int) -> None:
    folder = shutil.copytree(clean_data, tmp_path / "data")
    planted = Counter((fault.check, fault.file) for fault in plant_faults(folder, seed=seed))
    assert planted.total() == len(FAULTS) == 30
    found = Counter((finding.name, Path(finding.file).name) for finding in check_data(open_data(folder)).findings)
    assert found == planted
