"""`lookonce predict --engine ray` on a real Ray cluster (`./run ray`), whose workers and nodes are killed."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import pytest
from untrained import save_untrained

from lookonce.exporters.base import textured_canvases
from lookonce.remote.objects import Location, ObjectStore
from lookonce.workflows.export import export
from lookonce.workflows.predict import predict

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests" / "support" / "ray_cluster.py"
OUT = Location.parse("s3://bucket/out")
NUM_IMAGES, NUM_ROWS, NUM_PARTS = 20, 1200, 12


@pytest.mark.slow
def test_workers_and_a_node_are_killed_and_the_bytes_are_those_of_one_process(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "best", ("cat", "dog"), (1, 2))
    export(tmp_path / "best", output=tmp_path / "net.onnx")
    store, place = ObjectStore(), Location.parse("s3://bucket/set")
    for number, image in enumerate(textured_canvases(NUM_IMAGES, (60, 80), seed=3)):
        cv2.imwrite("image.png", image)
        store.upload(tmp_path / "image.png", place / f"{number}.png")
    store.put_text("".join(f"{row % (NUM_IMAGES + 1)}.png\n" for row in range(NUM_ROWS)), place / "list.txt")

    predict(f"{place}/list.txt", weights=tmp_path / "net.onnx", output=tmp_path / "one", part="1/1")
    expected = (tmp_path / "one" / "part-00001-of-00001.jsonl").read_text(encoding="utf-8")
    words = ["predict", f"{place}/list.txt", "--weights", str(tmp_path / "net.onnx"), "--output", str(OUT)]
    command = [str(ROOT / "run"), "ray", str(CLUSTER), "0", *words, "--engine", "ray", "--part", f"all/{NUM_PARTS}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}  # Ray keeps a token there
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert re.search(r"killed [2-4] 1\n", done.stdout), done.stdout
    names = [entry.name for entry in store.entries(OUT) if entry.name.endswith(".jsonl")]
    assert len(names) == NUM_PARTS
    assert "".join(store.get_text(OUT / name) for name in names) == expected
