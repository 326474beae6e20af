import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from raised import raises
from safetensors.torch import load_file

from lookonce.errors import WeightsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.record import ModelRecord
from lookonce.storage import StorageError
from lookonce.weights import checkpoint as checkpoint_module
from lookonce.weights.checkpoint import load_checkpoint, replace_record, save_checkpoint

MakeModel = Callable[..., YoloV3Tiny]


def test_everything_comes_back_bit_for_bit(checkpoint: Path, record: ModelRecord, make_model: MakeModel) -> None:
    loaded = load_checkpoint(checkpoint)
    for name, value in make_model().state_dict().items():
        assert torch.equal(loaded.state[name], value)
    assert loaded.record == record
    assert loaded.training is not None
    assert loaded.training.tensors["model/x"].tolist() == [0, 1, 2]
    assert loaded.training.values == {"step": 5, "third": 1 / 3}


def test_the_folder_holds_the_files_that_other_programs_expect(checkpoint: Path) -> None:
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "COMPLETE",
        "manifest.json",
        "model.safetensors",
        "record.json",
        "training.json",
        "training.safetensors",
    ]
    assert set(json.loads((checkpoint / "manifest.json").read_text())) == {
        "model.safetensors",
        "record.json",
        "training.json",
        "training.safetensors",
    }


def test_another_record_leaves_the_arrays_as_they_are(checkpoint: Path, record: ModelRecord) -> None:
    arrays = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    thresholds = record.thresholds.model_copy(update={"per_class_score": {"a": 0.4}})
    replace_record(checkpoint, record.model_copy(update={"thresholds": thresholds}))
    loaded = load_checkpoint(checkpoint)
    assert loaded.record.thresholds.per_class_score == {"a": 0.4}
    assert loaded.training is not None
    assert {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")} == arrays


def test_a_damaged_checkpoint_gets_no_new_record(checkpoint: Path, record: ModelRecord) -> None:
    (checkpoint / "training.json").write_text("{}")
    with raises(WeightsError, path="training.json"):
        replace_record(checkpoint, record)


def test_halves_are_stored_as_float32_and_counters_as_they_are(tmp_path: Path, record: ModelRecord) -> None:
    state = {"weight": torch.ones(2, dtype=torch.bfloat16), "count": torch.tensor(3)}
    save_checkpoint(tmp_path / "best", state=state, record=record)
    stored = load_file(tmp_path / "best" / "model.safetensors")
    assert (stored["weight"].dtype, stored["count"].dtype) == (torch.float32, torch.int64)
    assert load_checkpoint(tmp_path / "best").training is None


def test_channels_last_arrays_are_stored_in_their_logical_order(tmp_path: Path, record: ModelRecord) -> None:
    weight = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).view(2, 3, 2, 2)
    state = {"weight": weight.to(memory_format=torch.channels_last)}
    save_checkpoint(tmp_path / "best", state=state, record=record)
    assert torch.equal(load_checkpoint(tmp_path / "best").state["weight"], weight)


@pytest.mark.parametrize("name", ["model.safetensors", "record.json", "training.safetensors", "training.json"])
def test_one_flipped_bit_anywhere_is_noticed_and_its_file_named(checkpoint: Path, name: str) -> None:
    content = bytearray((checkpoint / name).read_bytes())
    content[-2] ^= 1
    (checkpoint / name).write_bytes(content)
    with raises(WeightsError, "SHA-256", "manifest.json", path=checkpoint / name):
        load_checkpoint(checkpoint)


def test_a_file_cut_short_is_told_by_its_size(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100])
    with raises(WeightsError, "100 bytes", str(size), path=path):
        load_checkpoint(checkpoint)


def test_a_missing_file_is_named(checkpoint: Path) -> None:
    (checkpoint / "record.json").unlink()
    with raises(WeightsError, "manifest.json", path="record.json"):
        load_checkpoint(checkpoint)


def test_a_folder_without_its_marker_was_not_finished(checkpoint: Path) -> None:
    (checkpoint / "COMPLETE").unlink()
    with raises(WeightsError, "COMPLETE", path=checkpoint):
        load_checkpoint(checkpoint)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with raises(WeightsError, "model.safetensors", path="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_manifest_that_is_no_json(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text("[")
    with raises(WeightsError, "JSON", path="manifest.json"):
        load_checkpoint(checkpoint)


def test_a_record_of_another_version_names_the_field(checkpoint: Path) -> None:
    record = json.loads((checkpoint / "record.json").read_text()) | {"colour": "red"}
    (checkpoint / "record.json").write_text(json.dumps(record))
    with raises(WeightsError, "colour", path="record.json"):
        checkpoint_module.read_record(checkpoint)


def test_a_full_disk_keeps_the_checkpoint_before(
    checkpoint: Path, record: ModelRecord, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}

    def write_bytes(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with raises(StorageError, "no space", path=checkpoint):
            save_checkpoint(checkpoint, state=make_model(seed=1).state_dict(), record=record)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last"]


def test_a_version_moved_aside_by_a_kill_is_still_loaded(checkpoint: Path, record: ModelRecord) -> None:
    checkpoint.rename(checkpoint.with_name(".last.old"))
    assert load_checkpoint(checkpoint).record == record
