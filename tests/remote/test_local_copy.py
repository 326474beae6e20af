from pathlib import Path
from typing import Any

import pytest

from lookonce.remote.local_copy import local_weights
from lookonce.remote.objects import Location, ObjectStore

FILES = ("x.ckpt", "x.ckpt.json", "x.names", "y.weights", "y.cfg", "z.onnx", "z.onnx.json", "x.ckpt.old")


@pytest.mark.parametrize(
    ("name", "brought"),
    [
        ("x.ckpt", {"x.ckpt", "x.ckpt.json", "x.names"}),
        ("y.weights", {"y.weights", "y.cfg"}),
        ("z.onnx", {"z.onnx"}),
    ],
)
def test_weights_of_other_programs_bring_what_lies_beside_them(
    s3: Any, tmp_path: Path, name: str, brought: set[str]
) -> None:
    for file in FILES:
        ObjectStore().put_text(file, Location.parse("s3://bucket/weights") / file)
    found = local_weights(f"s3://bucket/weights/{name}", tmp_path)
    assert found.name == name
    assert {path.name for path in found.parent.iterdir() if not path.name.startswith(".")} == brought
    s3.requests.clear()
    assert local_weights(f"s3://bucket/weights/{name}", tmp_path) == found
    assert not [request for request in s3.requests if request.startswith("GET /bucket/weights")]


def test_a_file_of_this_machine_stays_where_it_is(tmp_path: Path) -> None:
    assert local_weights(tmp_path / "x.ckpt") == tmp_path / "x.ckpt"
