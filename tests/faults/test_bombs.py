"""Image bombs and mutated images: refused by their header, in both languages, before memory is taken for pixels."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from bombs import BOMBS, SMALL_KINDS, small_image, written
from hypothesis import given, settings
from hypothesis import strategies as st

from lookonce.data.images import read_image
from lookonce.errors import DataError
from lookonce.weights.darknet_cfg import STANDARD_RECORD

PREPARE = Path(__file__).parents[2] / "cpp" / "build" / "release" / "lookonce-prepare"
# Formats that the C++ program does not read.
PYTHON_ONLY = frozenset({".bmp", ".ppm", ".gif", ".tif", ".j2k", ".avif"})
MOST_BYTES = 50_000_000
# Reads each file twice in one process; how much its peak memory grew, and what it answered.
READ_ALL = """
import json, resource, sys
from pathlib import Path
from lookonce.data.images import image_size_wh, read_image
from lookonce.errors import DataError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def answer(read, path):
    try:
        read(path)
    except DataError as error:
        return str(error)

read_image(Path(sys.argv[1]))
found = {}
for path in map(Path, sys.argv[2:]):
    before = peak()
    refusals = [answer(read, path) for read in (read_image, image_size_wh)]
    found[path.name] = [peak() - before, *refusals]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> file of each bomb; and small.png, an image of 16 x 16."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, content in {**written(), "small.png": small_image("PNG")}.items():
        (folder / name).write_bytes(content)
    return {path.name: path for path in folder.iterdir()}


def test_python_refuses_each_bomb_with_less_than_50_mb(files: dict[str, Path]) -> None:
    command = [sys.executable, "-c", READ_ALL, files["small.png"], *(files[name] for name in BOMBS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name, (grown, *refusals) in json.loads(done.stdout).items():
        assert grown < MOST_BYTES, name
        assert all(name in str(refusal) for refusal in refusals), (name, refusals)


@pytest.mark.skipif(not PREPARE.is_file(), reason="the C++ program is not built: ./run cpp")
def test_cpp_refuses_each_bomb_with_less_than_50_mb(files: dict[str, Path], tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(
        STANDARD_RECORD.model_copy(update={"class_names": ("a",), "category_ids": (1,)}).model_dump_json()
    )
    bombs = [files[name] for name in BOMBS if files[name].suffix not in PYTHON_ONLY]
    usual = peak_of(PREPARE, record, tmp_path, files["small.png"])
    assert peak_of(PREPARE, record, tmp_path, *bombs) - usual < MOST_BYTES
    for number, bomb in enumerate(bombs):
        assert bomb.name in (tmp_path / f"{number}.txt").read_text()


def peak_of(*command: Path) -> int:
    """Bytes of memory at the peak of a process that ends with 0."""
    _, status, usage = os.wait4(os.posix_spawn(command[0], list(map(str, command)), os.environ), 0)
    assert status == 0
    return usage.ru_maxrss * 1024


def test_a_canvas_between_the_limit_and_pillows_own_is_refused_by_its_header() -> None:
    started = time.process_time()
    with pytest.raises(DataError):
        read_image(written()["under-twice.webp"])
    assert time.process_time() - started < 0.5  # decoded it takes 5 s and 824 MB


@pytest.mark.filterwarnings("default:::PIL")  # read_image gives them the name of the image
@pytest.mark.parametrize("kind", SMALL_KINDS)
@pytest.mark.parametrize("examples", [10, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_mutated_image_is_read_or_refused(kind: str, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = small_image(kind)
    # Within the limit a header may ask for as many pixels; so that no mutation takes seconds, that is few.
    monkeypatch.setenv("LOOKONCE_MAX_PIXELS", "1000000")

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=8), st.integers(0, 8))
    def check(at: int, put: bytes, removed: int) -> None:
        mutated = content[:at] + put + content[at + removed :]
        with suppress(DataError):
            read_image(mutated)

    check()
