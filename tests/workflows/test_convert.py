import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from raised import raises

from lookonce.cli.main import main
from lookonce.errors import SettingsError, WeightsError
from lookonce.model.yolov3_tiny import initialise
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import load_checkpoint, save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.load import load_weights
from lookonce.workflows.convert import convert

CHANNELS = (4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4)


def checkpoint(folder: Path, dialect: str, *, seed: int = 0) -> Path:
    record = ModelRecord(
        dialect=DIALECTS[dialect],
        channels=CHANNELS,
        class_names=("cat", "dög"),
        category_ids=(3, 7),
        image_size=(64, 64),
    )
    model = model_from_record(record)
    initialise(model, torch.Generator().manual_seed(seed))
    save_checkpoint(folder, state=model.state_dict(), record=record)
    return folder


def without_versions(record: ModelRecord) -> ModelRecord:
    return record.model_copy(update={"versions": {}})


@pytest.fixture
def darknet_files(tmp_path: Path) -> tuple[Path, Path, Path]:
    convert(checkpoint(tmp_path / "ours", "darknet"), output=tmp_path / "files" / "net", to="darknet")
    return tuple(tmp_path / "files" / "net" / f"ours{suffix}" for suffix in (".cfg", ".weights", ".names"))  # type: ignore[return-value]


def test_a_checkpoint_becomes_darknets_files_and_comes_back(
    tmp_path: Path, darknet_files: tuple[Path, Path, Path]
) -> None:
    cfg, weights, names = darknet_files
    assert names.read_text() == "cat\ndög\n"
    convert(cfg, weights, names=names, output=tmp_path / "again")
    before, after = load_checkpoint(tmp_path / "ours"), load_checkpoint(tmp_path / "again")
    assert all(torch.equal(before.state[name], after.state[name]) for name in before.state)
    for fact in ("dialect", "channels", "masks", "anchors", "image_size", "class_names"):
        assert getattr(before.record, fact) == getattr(after.record, fact)
    model, _ = load_weights(tmp_path / "again")
    assert [raw.shape for raw in model(torch.zeros(1, 3, 64, 64))] == [(1, 21, 2, 2), (1, 21, 4, 4)]


@pytest.mark.parametrize(("size", "hw"), [(96, (96, 96)), ("64x96", (64, 96))])
def test_the_size_of_the_input_can_be_another(
    tmp_path: Path, darknet_files: tuple[Path, Path, Path], size: int | str, hw: tuple[int, int]
) -> None:
    convert(*darknet_files[:2], output=tmp_path / "again", image_size=size)
    assert load_checkpoint(tmp_path / "again").record.image_size == hw
    with raises(SettingsError, setting="image_size", value="64x90"):
        convert(*darknet_files[:2], output=tmp_path / "third", image_size="64x90")


def test_files_are_known_by_their_content(tmp_path: Path, darknet_files: tuple[Path, Path, Path]) -> None:
    cfg, weights, _ = darknet_files
    convert(weights.rename(tmp_path / "a.bin"), cfg.rename(tmp_path / "b.txt"), output=tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").record.class_names == ("class 0", "class 1")


def test_the_model_zoos_file_goes_both_ways(tmp_path: Path) -> None:
    ours = checkpoint(tmp_path / "ours", "mindspore")
    done = convert(ours, output=tmp_path / "zoo.ckpt", to="mindspore")
    assert done.written == (tmp_path / "zoo.ckpt", tmp_path / "zoo.ckpt.json")
    convert(tmp_path / "zoo.ckpt", output=tmp_path / "again")
    before, after = load_checkpoint(ours), load_checkpoint(tmp_path / "again")
    assert all(torch.equal(before.state[name], after.state[name]) for name in before.state)
    assert without_versions(after.record) == without_versions(before.record)


@pytest.mark.parametrize(("dialect", "weights"), [("mindspore", "ours.ckpt"), ("darknet", "ours.weights")])
def test_another_programs_file_keeps_what_only_the_record_knows(tmp_path: Path, dialect: str, weights: str) -> None:
    """Darknet's files cannot say the padding, the thresholds or the category ids either."""
    ours = checkpoint(tmp_path / "ours", dialect)
    convert(ours, output=tmp_path, to=dialect)
    model, record = load_weights(tmp_path / weights)
    before, known = load_weights(ours)
    assert without_versions(record).model_copy(update={"settings": {}}) == without_versions(known)
    assert all(torch.equal(array, before.state_dict()[name]) for name, array in model.state_dict().items())


def test_a_network_that_both_can_say_goes_from_one_to_the_other(tmp_path: Path) -> None:
    """Darknet's scale_x_y says the model zoo's centres; ImageNet's mean is what it cannot say."""
    ours = checkpoint(tmp_path / "ours", "mindspore")
    done = convert(ours, output=tmp_path / "both", to="darknet,mindspore")
    darknets = ["ours.cfg", "ours.weights", "ours.names", "ours.weights.json"]
    assert [path.name for path in done.written] == [*darknets, "ours.ckpt", "ours.ckpt.json"]
    assert "scale_x_y=1.1" in (tmp_path / "both" / "ours.cfg").read_text()
    convert(tmp_path / "both" / "ours.weights", output=tmp_path / "again")  # and the .cfg beside it
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before, _ = load_weights(ours)
    after, record = load_weights(tmp_path / "again")
    assert record.dialect.batchnorm_eps == 1e-6
    for one, other in zip(before(images), after(images), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_a_backbone_starts_a_training_and_is_told_to_find_nothing(
    tmp_path: Path, darknet_files: tuple[Path, Path, Path]
) -> None:
    cfg, weights, _ = darknet_files
    state = load_checkpoint(tmp_path / "ours").state
    kept = [name for name in state if name.startswith(("backbone.", "neck")) and "tracked" not in name]
    count = sum(state[name].numel() for name in kept if "neck10" not in name)
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * count])
    convert(cfg, weights, output=tmp_path / "backbone")
    with raises(WeightsError, "backbone", "--backbone-weights", path=tmp_path / "backbone"):
        load_weights(tmp_path / "backbone")
    with raises(WeightsError, "backbone", "darknet", path=cfg):
        convert(cfg, weights, output=tmp_path / "more", to="darknet")


def test_nothing_that_exists_is_replaced(tmp_path: Path, darknet_files: tuple[Path, Path, Path]) -> None:
    cfg, weights, _ = darknet_files
    with raises(WeightsError, "--output", path=tmp_path / "ours"):
        convert(cfg, weights, output=tmp_path / "ours")
    with raises(WeightsError, "--output", path=cfg.parent / "ours.cfg"):
        convert(tmp_path / "ours", output=cfg.parent, to="darknet")


def test_wrong_files_and_options_are_told(tmp_path: Path, darknet_files: tuple[Path, Path, Path]) -> None:
    cfg, weights, names = darknet_files
    output = tmp_path / "never"
    with raises(WeightsError, path=names):
        convert(names, output=output)
    alone = Path(shutil.copy(cfg, tmp_path / "alone.cfg"))
    with raises(WeightsError, ".weights", path=alone):
        convert(alone, output=output)
    with raises(WeightsError, "Darknet .cfg", path=cfg):
        convert(cfg, cfg, weights, output=output)
    with raises(WeightsError, path="nowhere.ckpt"):
        convert(tmp_path / "nowhere.ckpt", output=output)
    with raises(SettingsError, " darknet?", setting="to", value="darknett"):
        convert(cfg, weights, output=output, to="darknett")
    with raises(SettingsError, setting="mask", value="a,b"):
        convert(cfg, weights, output=output, mask="a,b")
    with raises(SettingsError, path=tmp_path / "ours"):
        convert(tmp_path / "ours", output=output, image_size=320, to="darknet")
    names.write_text("cat\ncat\n")
    with raises(WeightsError, "'cat'", path=names):
        convert(cfg, weights, output=output, names=names)
    assert not output.exists()


def test_the_command_tells_what_it_found(
    tmp_path: Path, darknet_files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights, names = darknet_files
    output = tmp_path / "again"
    assert main(["convert", str(cfg), str(weights), "--names", str(names), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    for text in ("Darknet 0.2.5", " parameters", "2: cat, dög", str(output)):
        assert text in printed


def test_the_answers_do_not_change(tmp_path: Path, make_answers: Callable[[Path], list[torch.Tensor]]) -> None:
    ours = checkpoint(tmp_path / "ours", "darknet")
    convert(ours, output=tmp_path / "out", to="darknet")
    convert(tmp_path / "out" / "ours.cfg", tmp_path / "out" / "ours.weights", output=tmp_path / "again")
    for before, after in zip(make_answers(ours), make_answers(tmp_path / "again"), strict=True):
        assert torch.equal(before, after)


@pytest.fixture
def make_answers() -> Callable[[Path], list[torch.Tensor]]:
    def answers(path: Path) -> list[torch.Tensor]:
        model, _ = load_weights(path)
        with torch.inference_mode():
            return list(model(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))))

    return answers


def test_the_probe_finds_a_wrong_mask_of_a_real_network(
    tmp_path: Path, shared: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same weights under a cfg with a smaller anchor in front: as in the published one of COCO, 1,2,3 is right."""
    folder = shared("data/aix2022")
    text = (folder / "yolov3-tiny-aix2022.cfg").read_text()
    text = text.replace("anchors = 10,14,", "anchors = 5,7, 10,14,").replace("mask = 3,4,5", "mask = 4,5,6")
    (tmp_path / "wrong.cfg").write_text(text)
    images = f"{folder}/pictures/*close*.jpg"
    weights = folder / "yolov3-tiny-aix2022.weights"
    done = convert(tmp_path / "wrong.cfg", weights, output=tmp_path / "wrong", probe=images)
    assert any("mask=1,2,3" in note and "mask=0,1,2" in note and "--mask 1,2,3" in note for note in done.notes)
    assert load_checkpoint(tmp_path / "wrong").record.masks == ((4, 5, 6), (0, 1, 2))
    done = convert(tmp_path / "wrong.cfg", weights, output=tmp_path / "right", probe=images, mask="1,2,3")
    assert any("mask=1,2,3" in note and "--mask" not in note for note in done.notes)
    with Image.open(tmp_path / "right-masks.png") as sheet:
        assert sheet.size == (8 + 2 * (640 + 8), 8 + 6 * (26 + 640 + 8))


def test_the_probe_needs_a_network_from_darknet(tmp_path: Path) -> None:
    convert(checkpoint(tmp_path / "ours", "mindspore"), output=tmp_path / "zoo.ckpt", to="mindspore")
    with raises(SettingsError, setting="probe"):
        convert(tmp_path / "zoo.ckpt", output=tmp_path / "again", probe=str(tmp_path))
