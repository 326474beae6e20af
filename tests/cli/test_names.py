"""The list of class names goes in at every door that takes another program's weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lookonce
from lookonce.cli.main import main
from lookonce.cli.options import options_of
from lookonce.cli.verbs import VERBS
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import SettingsError
from lookonce.model.yolov3_tiny import initialise
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.settings.resolve import resolve
from lookonce.weights.checkpoint import load_checkpoint, save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.mindspore import IMAGENET_MEAN, IMAGENET_STD, to_mindspore
from lookonce.workflows.build import make_model
from lookonce.workflows.convert import convert
from lookonce.workflows.evaluate import evaluate

NAMES = ("button", "key", "leaf", "mug", "nut", "star")  # of the made-up scenes
OF_RUNS_ONLY = {"report"}
RECORD = ModelRecord(
    dialect=DIALECTS["mindspore"],
    channels=(4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4),
    class_names=NAMES,
    category_ids=(1, 2, 3, 4, 5, 6),
    image_size=(64, 64),
    preprocessing=Preprocessing(resize="stretch", mean=IMAGENET_MEAN, std=IMAGENET_STD),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16)
    return write_synthetic(tmp_path_factory.mktemp("data") / "coco", train=2, val=2, options=options)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    model = model_from_record(RECORD)
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in (model.head32, model.head16):
            head.weight *= 20
            head.bias.zero_()
    return model.state_dict()


@pytest.fixture
def bare(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    """x.ckpt with nothing beside it, and x.txt with its names."""
    (tmp_path / "x.txt").write_text("\n".join(NAMES))
    (tmp_path / "x.ckpt").write_bytes(to_mindspore(RECORD, state, "x")[".ckpt"])
    return tmp_path / "x.ckpt"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_that_takes_weights_takes_their_names(verb: str) -> None:
    names = options_of(VERBS[verb].load(), verb).names
    if names & {"weights", "files", "checkpoint_url"} and verb not in OF_RUNS_ONLY:
        assert "names" in names


def test_a_ckpt_gives_its_runs_own_results(tmp_path: Path, data: Path, state: dict[str, torch.Tensor]) -> None:
    save_checkpoint(tmp_path / "ours", state=state, record=RECORD)
    convert(tmp_path / "ours", output=tmp_path / "x.ckpt", to="mindspore")
    ours, theirs = (
        evaluate(weights=tmp_path / name, data=data, output=tmp_path / f"{name}-eval", resamples=0, sheet_images=0)
        for name in ("ours", "x.ckpt")
    )
    assert len(ours.results) > 0
    assert ours.metrics == theirs.metrics
    assert (ours.output / "results.json").read_bytes() == (theirs.output / "results.json").read_bytes()


def test_its_names_come_out_of_each_verb(bare: Path, data: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {"names": tmp_path / "x.txt"}
    assert lookonce.load(bare, **names).class_names == NAMES
    assert main(["push", str(bare), str(tmp_path / "pushed"), "--names", str(tmp_path / "x.txt")]) == 0
    assert load_checkpoint(tmp_path / "pushed").record.class_names == NAMES
    given = ["--ckpt_file", str(bare), "--names", str(tmp_path / "x.txt"), "--image-size", "64"]
    place = ["--output", str(tmp_path), "--file_name", "y", "--to", "torchscript", "--keep_detect", "False"]
    assert main(["export", *given, *place, "--device_target", "Ascend", "--device_id", "0"]) == 0
    assert lookonce.load(tmp_path / "y.torchscript").class_names == NAMES


def test_weights_without_names_are_scored_in_order_and_others_not(
    bare: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many classes as the data set has, whatever its ids are."""
    moved = tmp_path / "moved.json"
    content = json.loads((data / "annotations" / "instances_val2017.json").read_text())
    for category in content["categories"]:
        category["id"] += 70
    for annotation in content["annotations"]:
        annotation["category_id"] += 70
    moved.write_text(json.dumps(content))
    options = ["--images", str(data / "val2017"), "--image-size", "64", "--resamples", "0", "--sheet-images", "0"]
    found = []
    for name, more in (("in-order", []), ("named", ["--names", str(tmp_path / "x.txt")])):
        output = tmp_path / name
        command = ["eval", "--weights", str(bare), "--data", str(moved), "--output", str(output), *options, *more]
        assert main(command) == 0
        found.append(json.loads((output / "results.json").read_text()))
    assert {row["category_id"] for row in found[0]} <= set(range(71, 77))
    assert len(found[0]) > 0
    assert found[0] == found[1]
    (tmp_path / "x.txt").write_text("button\nkey\n")
    wrong = ["eval", "--weights", str(bare), "--data", str(data), "--names", str(tmp_path / "x.txt")]
    assert main(wrong) == 1
    assert "2 class names" in capsys.readouterr().err


def test_a_training_takes_its_class_rows_in_order_or_by_name(
    bare: Path, data: Path, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    others = RECORD.model_copy(update={"class_names": tuple("abcdef")})
    flags = {"data": str(data), "weights": bare, "objectness_prior": 0.01}
    in_order = make_model(resolve(flags).settings, others).state_dict()
    assert all(torch.equal(array, state[name]) for name, array in in_order.items())
    by_name = make_model(resolve({**flags, "names": tmp_path / "x.txt"}).settings, others).state_dict()
    kept = torch.unflatten(by_name["head32.weight"] == state["head32.weight"], 0, (3, 11)).flatten(2).all(2)
    assert kept.tolist() == [[True] * 5 + [False] * 6] * 3
    with pytest.raises(SettingsError, match="names"):
        resolve({"data": str(data), "names": tmp_path / "x.txt"})
