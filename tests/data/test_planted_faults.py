import shutil
from collections import Counter
from pathlib import Path

import pytest
from planted_faults import FAULTS, plant_faults, write_clean

from lookonce.data.check import check_data
from lookonce.data.source import open_data


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clean(tmp_path_factory.mktemp("clean") / "data")


def test_a_clean_data_set_raises_no_alarm(clean: Path) -> None:
    result = check_data(open_data(clean))
    assert result.findings == ()


@pytest.mark.parametrize("seed", range(3))
def test_thirty_planted_faults_are_found_and_nothing_else(clean: Path, tmp_path: Path, seed: int) -> None:
    folder = shutil.copytree(clean, tmp_path / "data")
    planted = Counter((fault.check, fault.file) for fault in plant_faults(folder, seed=seed))
    assert planted.total() == len(FAULTS) == 30
    found = Counter((finding.name, Path(finding.file).name) for finding in check_data(open_data(folder)).findings)
    assert found == planted
