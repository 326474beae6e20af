"""The commands of docs/label-loop.md, one after another, on a few images and with a narrow network."""

import json
import re
import shlex
from pathlib import Path

import pytest

from lookonce.cli.main import main
from lookonce.data.source import open_data
from lookonce.data.synthetic import CLASS_NAMES, SceneOptions, write_synthetic

PAGE = Path(__file__).resolve().parents[2] / "docs" / "label-loop.md"
SMALL = ["--image-size", "64", "--epochs", "1", "--batch-size", "2"]


def commands() -> list[list[str]]:
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = (line.partition("#")[0] for line in block.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.strip()]


def made_small(words: list[str]) -> list[str]:
    """One epoch at 64 pixels; the first training starts from scratch, because published weights are not at hand."""
    if words[0] != "train":
        return words
    from_scratch = "coco" in words
    at = words.index("--weights") if from_scratch else words.index("--epochs")
    return [*words[:at], *(["--width", "0.125"] if from_scratch else []), *SMALL]


def correct(tasks: Path) -> None:
    """What a person does in Label Studio: predictions become annotations, here with one more box each."""
    content = json.loads(tasks.read_text(encoding="utf-8"))
    for task in content:
        drawn = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [CLASS_NAMES[0]]}
        size = {"original_width": 96, "original_height": 96}
        found = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"result": [*found, {"type": "rectanglelabels", "value": drawn, **size}]}]
    tasks.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.slow
def test_the_loop_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SceneOptions(sides=(96, 96))
    write_synthetic(tmp_path / "data", train=4, val=2, options=options)
    (write_synthetic(tmp_path / "others", train=3, val=0, seed=1, options=options) / "train2017").rename(
        tmp_path / "photographs"
    )
    monkeypatch.chdir(tmp_path)
    done = []
    for words in map(made_small, commands()):
        assert main(words) == 0, words
        done.append(words[0])
        if words[0] == "predict":
            correct(tmp_path / "round-1" / "pre-labels" / "tasks_train.json")
    assert done == ["check", "train", "predict", "convert-data", "train"]
    before, after = (open_data(tmp_path / name).split("train") for name in ("data", "round-2"))
    assert len(after) == len(before) + 3
    assert len(after.labels) >= len(before.labels) + 3
    assert after.class_names == before.class_names
    assert (tmp_path / "runs" / "round-2-1" / "checkpoints" / "last").is_dir()
