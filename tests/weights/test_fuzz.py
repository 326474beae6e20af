"""Damaged files of other programs: an error that says what is wrong, whatever the damage; never a crash or a hang.

A few hundred mutations in the default suite, 10,000 with -m slow. A mutation that leaves a file readable (a flipped bit
of a weight) is no error, and none is asked for. Pickles are read in one process with the limits that `read_pickled`
sets, for a broken one may take all memory there is.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mutations import mutated
from raised import raises

from lookonce.errors import LookonceError, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.darknet import to_darknet
from lookonce.weights.darknet_cfg import read_cfg
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import read_foreign
from lookonce.weights.mindspore import to_mindspore

LONGEST_SECONDS = 5.0  # of the processor, for one reading


def described(dialect: str) -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS[dialect],
        channels=(4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
        class_names=("a", "b"),
        category_ids=(1, 2),
        image_size=(64, 64),
    )


State = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def files(make_state: State) -> dict[str, bytes]:
    darknet, mindspore = described("darknet"), described("mindspore")
    written = to_darknet(darknet, make_state(darknet), "x") | to_mindspore(mindspore, make_state(mindspore), "x")
    return {kind: written[kind] for kind in (".cfg", ".weights", ".ckpt")}


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [".cfg", ".weights", ".ckpt"])
def test_damage_is_told(files: dict[str, bytes], tmp_path: Path, kind: str, count: int) -> None:
    generator = np.random.default_rng(0)
    paths = {suffix: tmp_path / f"x{suffix}" for suffix in files}
    for suffix, path in paths.items():
        path.write_bytes(files[suffix])
    given = [paths[".ckpt"]] if kind == ".ckpt" else [paths[".cfg"], paths[".weights"]]
    told = 0
    for number in range(count):
        paths[kind].write_bytes(mutated(files[kind], generator))
        started = time.process_time()
        try:
            read_foreign(given, ReadOptions())
        except LookonceError as error:
            told += bool(str(error))
        assert time.process_time() - started < LONGEST_SECONDS, number
    assert told > count // 4


def test_a_cfg_with_enormous_numbers_allocates_nothing(files: dict[str, bytes]) -> None:
    text = files[".cfg"].decode()
    for number in ("65537", "999999999", "9" * 400):
        with pytest.raises(LookonceError, match="filters="):
            read_cfg(text.replace("filters=4", f"filters={number}"), "x.cfg")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("anchors=10,14", "anchors=0.0001,14"),
        ("num=6", "num=6\nscale_x_y=0"),
        ("num=6", "num=6\nscale_x_y=11"),
        ("anchors=10,14", "anchors=" + "10,14," * 1000 + "10,14"),
    ],
)
def test_a_cfg_of_a_network_that_no_checkpoint_holds_is_an_error(
    files: dict[str, bytes], tmp_path: Path, old: str, new: str
) -> None:
    """`convert` wrote a checkpoint of it, which could not be read."""
    cfg, weights = tmp_path / "x.cfg", tmp_path / "x.weights"
    weights.write_bytes(files[".weights"])
    text = files[".cfg"].decode().replace(" ", "")
    cfg.write_text(text.replace(old, new))
    assert cfg.read_text() != text
    with raises(WeightsError, path="x.cfg"):
        read_foreign([cfg, weights], ReadOptions())


PICKLES = """
import collections, io, sys, time, zipfile
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from mutations import mutated
from lookonce.weights import pickled

good, folder, count, seed = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
pickled._limit_this_process(good.stat().st_size)
generator, content = np.random.default_rng(seed), good.read_bytes()
members = {name: zipfile.ZipFile(good).read(name) for name in zipfile.ZipFile(good).namelist()}
inner = next(name for name in members if name.endswith("/data.pkl"))
path, longest, read = folder / "x.pt", 0.0, 0
for number in range(count):
    if number % 2:  # in the archive; else in the pickle inside
        path.write_bytes(mutated(content, generator))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in members.items():
                archive.writestr(name, mutated(value, generator) if name == inner else value)
    started = time.process_time()
    told = pickled.read_or_reason(path)
    longest = max(longest, time.process_time() - started)
    assert told, number
    read += not isinstance(told, str)
print(longest, read)
"""


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_pickles_are_told_within_the_limits(tmp_path: Path, count: int) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.SiLU())
    torch.save({"model": network, "ema": None}, tmp_path / "good.pt")
    support, left = str(Path(__file__).parents[1] / "support"), count
    while left:  # a process may use 60 s of the processor
        now = min(left, 1000)
        command = [
            sys.executable,
            "-c",
            PICKLES,
            support,
            str(tmp_path / "good.pt"),
            str(tmp_path),
            str(now),
            str(left),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        longest, read = done.stdout.split()
        assert float(longest) < LONGEST_SECONDS
        assert int(read) < now * 3 // 4
        left -= now
