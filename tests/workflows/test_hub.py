import os
import shutil
import types
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import yaml
from raised import raises

from lookonce.errors import LookonceError, SettingsError, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.workflows import hub

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=(4,) * 11,
        class_names=("cat", "dog | wolf"),
        category_ids=(1, 2),
        image_size=(64, 64),
        metrics={"AP": 0.25, "AP50": 0.5},
    )
    state = model_from_record(record).state_dict()
    training = TrainingState(tensors={"model/x": torch.arange(3)}, values={"step": 5})
    save_checkpoint(tmp_path / "best", state=state, record=record, training_state=training)
    return tmp_path / "best"


class FakeHub(types.ModuleType):
    """huggingface_hub with a folder in place of its server."""

    def __init__(self, server: Path) -> None:
        super().__init__("huggingface_hub")
        self.server, self.private = server, True

    def HfApi(self) -> "FakeHub":  # noqa: N802 the hub's own name
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self.private = private

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        shutil.copytree(folder_path, self.server / repo_id)

    def snapshot_download(self, repo_id: str, *, revision: str, local_dir: str, allow_patterns: list[str]) -> None:
        if not (self.server / repo_id).exists():
            raise OSError("401 Client Error: Repository Not Found\nmore")
        for name in allow_patterns:
            shutil.copy(self.server / repo_id / name, local_dir)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHub:
    fake = FakeHub(tmp_path / "server")
    monkeypatch.setattr(hub, "_hub", lambda: fake)
    return fake


def same(one: Path, other: Path) -> bool:
    a, b = load_checkpoint(one), load_checkpoint(other)
    return a.record == b.record and all(torch.equal(a.state[name], b.state[name]) for name in a.state)


def test_a_folder_takes_the_checkpoint_without_its_training_and_gives_it_back(checkpoint: Path, tmp_path: Path) -> None:
    hub.push(checkpoint, str(tmp_path / "shared"))
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "COMPLETE",
        "README.md",
        "manifest.json",
        "model.safetensors",
        "record.json",
    ]
    hub.pull(str(tmp_path / "shared"), tmp_path / "mine")
    assert same(checkpoint, tmp_path / "mine")
    with raises(WeightsError, path=tmp_path / "mine"):
        hub.pull(str(tmp_path / "shared"), tmp_path / "mine")


def test_without_a_source_the_published_weights_are_listed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path / "weights"))
    shutil.copytree(checkpoint, tmp_path / "weights" / "coco")
    listed = hub.pull()
    assert isinstance(listed, hub.PublishedList)
    assert listed.pulled == {"coco": tmp_path / "weights" / "coco", "modelzoo-coco": None}
    text = "\n".join(hub.as_text(listed))
    for fact in ("35.4 MB", "public domain", "Apache-2.0", str(tmp_path / "weights" / "coco"), "pull modelzoo-coco"):
        assert fact in text
    assert hub.pull("coco").place == str(tmp_path / "weights" / "coco")
    hub.pull("coco", tmp_path / "mine")
    assert same(checkpoint, tmp_path / "mine")
    with raises(SettingsError, "coco", setting="output"):
        hub.pull("cocoo")


def test_the_hub_takes_it_privately_and_gives_it_back(checkpoint: Path, tmp_path: Path, server: FakeHub) -> None:
    hub.push(checkpoint, "someone/cats")
    assert server.private
    (server.server / "someone" / "cats" / "evil.py").write_text("raise SystemExit")
    hub.pull("someone/cats", tmp_path / "mine")
    assert same(checkpoint, tmp_path / "mine")
    assert not (tmp_path / "mine" / "evil.py").exists()


def test_what_the_hub_refuses_is_told_in_a_line(tmp_path: Path, server: FakeHub) -> None:
    with raises(LookonceError, "someone/none", "401 Client Error"):
        hub.pull("someone/none", tmp_path / "mine")


class ConnectError(Exception):
    """As the hub's HTTP client raises it."""


def test_a_hub_that_is_not_reached_is_told_in_a_line(
    checkpoint: Path, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "create_repo", Mock(side_effect=ConnectError("Name or service not known")))
    with raises(LookonceError, "someone/cats", "not known"):
        hub.push(checkpoint, "someone/cats")


def test_a_flipped_bit_on_the_way_is_noticed(checkpoint: Path, tmp_path: Path, server: FakeHub) -> None:
    hub.push(checkpoint, "someone/cats")
    path = server.server / "someone" / "cats" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with raises(WeightsError, "SHA-256", path="model.safetensors"):
        hub.pull("someone/cats", tmp_path / "mine")


def test_the_card_is_what_the_hub_can_read(checkpoint: Path, tmp_path: Path) -> None:
    hub.push(checkpoint, str(tmp_path / "cats"))
    text = (tmp_path / "cats" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "object-detection"
    assert body.startswith("\n# cats\n")
    assert "cat, dog \\| wolf." in body
    assert "AP50 0.500 and AP 0.250" in body


def test_the_real_hub_library_has_what_is_called() -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    import inspect

    download = inspect.signature(huggingface_hub.snapshot_download).parameters
    assert {"revision", "local_dir", "allow_patterns"} <= download.keys()
    assert {"repo_id", "folder_path", "commit_message"} <= inspect.signature(
        huggingface_hub.HfApi.upload_folder
    ).parameters.keys()
    assert {"private", "exist_ok"} <= inspect.signature(huggingface_hub.HfApi.create_repo).parameters.keys()


def test_torch_hub_opens_a_checkout(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    model = torch.hub.load(os.fspath(ROOT), "yolov3_tiny", source="local", num_classes=2, width=0.125)
    assert [raw.shape[1] for raw in model(torch.zeros(2, 3, 64, 64))] == [21, 21]
    loaded = torch.hub.load(os.fspath(ROOT), "detector", source="local", weights=str(checkpoint), device="cpu")
    assert loaded.class_names == ("cat", "dog | wolf")
