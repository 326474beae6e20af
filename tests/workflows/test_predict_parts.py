"""`lookonce predict --part K/N`: all parts together are one process, however often they were killed."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import killed
import pytest
from raised import raises
from untrained import save_untrained

from lookonce.errors import SettingsError
from lookonce.exporters.base import textured_canvases
from lookonce.remote.objects import Location, ObjectStore, RemoteError
from lookonce.storage import StorageError
from lookonce.workflows import predict_parts
from lookonce.workflows.export import export
from lookonce.workflows.predict import Predicted, as_text, predict

ROWS = 9


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of two classes that finds something in every texture, exported."""
    folder = tmp_path_factory.mktemp("weights")
    save_untrained(folder / "best", ("cat", "dog"), (1, 2))
    export(folder / "best", output=folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine rows: images, one that is damaged, one that is missing."""
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(textured_canvases(ROWS, (60, 80), seed=3)):
        cv2.imwrite(str(folder / f"{number}-ü.png"), image)
    (folder / "3-ü.png").write_bytes(b"no image")
    (folder / "8-ü.png").unlink()
    (folder / "list.txt").write_text("".join(f"{number}-ü.png\n" for number in range(ROWS)), encoding="utf-8")
    return folder / "list.txt"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_parts, "CHUNK_ROWS", 2)


@pytest.fixture
def run(weights: Path, manifest: Path) -> Callable[..., Predicted]:
    def run(part: str, output: Any, source: Any = manifest, **options: Any) -> Predicted:
        return predict(str(source), weights=weights, output=output and Path(output), part=part, **options)

    return run


def joined(folder: Path) -> bytes:
    """The results of all parts, in the order of their names; each has the SHA-256 of its record."""
    content = b""
    for path in sorted(folder.glob("part-*.jsonl")):
        here = path.read_bytes()
        record = json.loads(path.with_suffix(".json").read_text())
        assert (record["sha256"], record["bytes"]) == (hashlib.sha256(here).hexdigest(), len(here))
        content += here
    return content


@pytest.fixture
def one_process(run: Callable[..., Predicted], tmp_path: Path) -> bytes:
    run("1/1", tmp_path / "one")
    return joined(tmp_path / "one")


def test_the_parts_together_are_one_process(
    run: Any, one_process: bytes, weights: Path, manifest: Path, tmp_path: Path
):
    for total in (2, 4, 11):
        for number in reversed(range(1, total + 1)):
            assert run(f"{number}/{total}", tmp_path / str(total)).exit_code == 0
        assert joined(tmp_path / str(total)) == one_process
        names = {path.name for path in (tmp_path / str(total)).iterdir()}
        assert len(names) == 2 * total, names  # no chunk is left
    assert run("all/4", tmp_path / "all").num_images == ROWS - 2
    assert joined(tmp_path / "all") == one_process
    predict(str(manifest), weights=weights, output=tmp_path / "plain", save="jsonl")
    lines = [json.loads(line) for line in one_process.splitlines()]
    plain = [json.loads(line) for line in (tmp_path / "plain" / "detections.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == list(range(1, ROWS + 1))
    assert [line["detections"] for line in lines if "error" not in line] == [one["detections"] for one in plain[:-2]]
    assert [line["file"] for line in lines if "error" in line] == [one["file"] for one in plain[-2:]]


def test_a_part_that_is_killed_at_any_step_goes_on_to_the_same_bytes(
    one_process: bytes, weights: Path, manifest: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["predict", manifest, "--weights", weights, "--output", output, "--part", "all/2", "--resume"]
    command = [sys.executable, killed.__file__, "3", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 10
    assert joined(output) == one_process
    assert {path.suffix for path in output.iterdir()} == {".json", ".jsonl"}


def test_what_is_complete_is_not_made_again(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("2/3", tmp_path)
    monkeypatch.setattr(predict_parts, "load_runtime", None)
    again = run("2/3", tmp_path, resume=True)
    assert (again.parts.parts, again.parts.num_new) == (first.parts.parts, 0)
    assert next(as_text(again)) == next(as_text(first))
    assert "images/s" not in list(as_text(again))[1]


def test_only_what_is_missing_or_damaged_is_made_again(run: Any, one_process: bytes, tmp_path: Path) -> None:
    interrupt_after(run, tmp_path, chunks=2)
    assert run("1/1", tmp_path, resume=True).parts.num_new == 4  # rows 5 to 8 of 9; the last is missing
    (tmp_path / "part-00001-of-00001.jsonl").write_bytes(one_process[:-1])
    assert run("1/1", tmp_path, resume=True).parts.num_new == ROWS - 2
    (tmp_path / "part-00001-of-00001.json").unlink()
    (tmp_path / "part-00001-of-00001.jsonl").unlink()
    interrupt_after(run, tmp_path, chunks=3)
    chunk = next(tmp_path.glob("*.chunks/000001-*"))
    chunk.write_bytes(chunk.read_bytes().replace(b"cat", b"dog"))
    with raises(StorageError, chunk.name):
        run("1/1", tmp_path, resume=True)
    run("1/1", tmp_path, resume=True)
    assert joined(tmp_path) == one_process


def interrupt_after(run: Any, output: Path, chunks: int) -> None:
    """Ctrl-C when so many chunks are written."""
    written, write = count(1), predict_parts.PartResult.write

    def write_and_stop(self: Any, chunk: int, text: str) -> None:
        write(self, chunk, text)
        if next(written) == chunks:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_parts.PartResult, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run("1/1", output)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"part": "0/3"}, "part"),
        ({"part": "4/3"}, "part"),
        ({"part": "2"}, "part"),
        ({"part": "1/0"}, "part"),
        ({"save": "images,jsonl"}, "save"),
        ({"track": True}, "track"),
        ({"show": True}, "show"),
        ({"devices": 2}, "devices"),
        ({"part": None, "resume": True}, "resume"),
        ({"address": "auto"}, "address"),
        ({"engine": "dask"}, "engine"),
        ({"part": None, "engine": "ray", "output": None}, "output"),
    ],
)
def test_what_parts_cannot_do_is_refused(options: dict[str, Any], setting: str, run: Any, tmp_path: Path) -> None:
    with raises(SettingsError, setting=setting):
        run(**{"part": "1/2", "output": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_results_of_other_settings_or_without_resume_are_not_mixed(run: Any, manifest: Path, tmp_path: Path) -> None:
    run("1/2", tmp_path)
    with raises(SettingsError, setting="output"):
        run("1/2", tmp_path)
    with raises(SettingsError, setting="threshold"):
        run("1/2", tmp_path, resume=True, threshold=0.3)
    interrupt_after(run, tmp_path, chunks=1)
    with raises(SettingsError, setting="output"):
        run("1/1", tmp_path)
    other = tmp_path / "other.txt"
    other.write_text(manifest.read_text(encoding="utf-8").replace("0-", "1-"), encoding="utf-8")
    with raises(SettingsError, setting="manifest"):
        run("1/1", tmp_path, other, resume=True)


def test_images_and_results_in_object_storage_give_the_same_lines(
    run: Any, one_process: bytes, s3: Any, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, place = ObjectStore(), Location.parse("s3://bucket/set")
    for path in manifest.parent.iterdir():
        store.upload(path, place / path.name)
    s3.faults += [503, "cut", "lost"]
    for part in ("1/2", "2/2"):
        run(part, "s3://bucket/out", "s3://bucket/set/list.txt")
    again = run("all/2", "s3://bucket/out", "s3://bucket/set/list.txt", resume=True).parts
    assert (again.num_new, again.output) == (0, "s3://bucket/out")
    names = [entry.name for entry in store.entries(Location.parse("s3://bucket/out"))]
    assert [Path(name).suffix for name in names] == [".json", ".jsonl"] * 2
    found = "".join(store.get_text(Location.parse(f"s3://bucket/out/{name}")) for name in names[1::2])
    # Only the address of an image, and the error for one that is missing, are not those of files.
    expected = one_process.decode().replace(f"{manifest.parent}/", "s3://bucket/set/")
    assert [line for line in found.splitlines() if "8-ü" not in line] == expected.splitlines()[:-1]
    with raises(RemoteError, path="s3://elsewhere/list.txt"):
        run("1/2", "s3://bucket/out", "s3://elsewhere/list.txt")


def test_rows_of_an_inventory_that_are_no_images_have_no_lines(
    run: Any, s3: Any, tmp_path: Path, manifest: Path
) -> None:
    keys = ["a.csv", *[f"{number}-ü.png" for number in range(3)], "b.csv", "c.csv", "d.csv"]
    for path in manifest.parent.glob("[012]-ü.png"):
        ObjectStore().upload(path, Location.parse("s3://bucket") / path.name)
    (tmp_path / "1.csv").write_text("".join(f'"bucket","{key}"\n' for key in keys), encoding="utf-8")
    content = {"sourceBucket": "bucket", "destinationBucket": "bucket", "fileFormat": "CSV"}
    content |= {"fileSchema": "Bucket, Key", "files": [{"key": "data/1.csv"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    for part in ("all/1", "all/3"):
        run(part, tmp_path / part, tmp_path / "manifest.json")
    lines = list(map(json.loads, joined(tmp_path / "all" / "3").splitlines()))
    assert [(line["file"], line["image_id"]) for line in lines] == [
        (f"s3://bucket/{number}-ü.png", number + 2) for number in range(3)
    ]
    assert joined(tmp_path / "all" / "1") == joined(tmp_path / "all" / "3")
