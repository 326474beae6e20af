"""README, docs and docstrings: every command is understood as printed, and every example runs as written."""

import ast
import inspect
import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lookonce.cli import app
from lookonce.cli import main as command_line
from lookonce.cli.main import main
from lookonce.cli.verbs import VERBS, Verb
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.workflows.train import train

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# Other tests run the examples of extending.md, which need what surrounds them, and of serve.md, which need a server.
PYTHON_PAGES = [page for page in PAGES if page.name not in {"extending.md", "serve.md", "README_CN.md"}]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:lookonce|\./run) (?P<words>[a-z-]+\b[^#\n]*)", re.MULTILINE)
IN_TABLE = re.compile(r"\| `\./run (?P<words>[^`]+)` \|")
# Names that a reader replaces by his own, and what stands for them here.
NAMES = {"N": "1", "PATH/TO/lookonce": str(ROOT)}


def examples(language: str, pages: Sequence[Path] = PAGES) -> Iterator[tuple[str, str]]:
    for page in pages:
        for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if kind == language:
                yield page.name, text


def docstring_examples() -> Iterator[tuple[str, str]]:
    """(module, text) of every block of Python in a docstring."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "```python" in source else ():  # parsing all takes seconds
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield from ((path.name, block) for kind, block in FENCE.findall(text) if kind == "python")


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words after `lookonce`) of every command in a block, and in the READMEs' tables."""
    blocks = (block for language in ("", "sh", "console") for block in examples(language))
    found = [(page, match) for page, text in blocks for match in COMMAND.finditer(text.replace("\\\n", " "))]
    readmes = [page for page in PAGES if page.name.startswith("README")]
    found += [(page.name, match) for page in readmes for match in IN_TABLE.finditer(page.read_text(encoding="utf-8"))]
    for page, match in found:
        words = shlex.split(match["words"].split(" && ")[0])
        if words[0] in VERBS:
            yield page, [NAMES.get(word, word) for word in words]


ALL_COMMANDS = list(commands())


def test_the_readmes_have_the_same_python() -> None:
    english, chinese = (
        [text for page, text in examples("python") if page == name] for name in ("README.md", "README_CN.md")
    )
    assert english == chinese != []


def test_the_pictures_of_the_network_are_those_that_the_source_draws() -> None:
    draw = runpy.run_path(str(ROOT / "docs/images/draw.py"))
    for name, picture in draw["PICTURES"].items():
        assert (ROOT / "docs/images" / f"{name}.svg").read_text(encoding="utf-8") == picture()


def test_there_are_examples_to_run() -> None:
    assert len(ALL_COMMANDS) > 60
    assert {page for page, _ in examples("python")} >= {"README.md", "predict.md", "evaluation.md"}


@pytest.mark.parametrize(("page", "words"), ALL_COMMANDS, ids=lambda part: part if isinstance(part, str) else part[0])
def test_every_command_is_understood(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verb and options exist, and their values have the right type: the verb's function would be called."""
    del page
    called: list[str] = []

    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def record(*_args: Any, **_options: Any) -> None:
            called.append(function.__name__)

        return record

    load, late = Verb.load, app.late
    monkeypatch.setattr(Verb, "load", lambda verb: recorder(load(verb)))
    monkeypatch.setattr(app, "late", lambda verb: recorder(late(verb)))
    assert command_line.run(words) == 0
    assert len(called) == 1


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: small data sets, a run, its files, images and a video."""
    folder = tmp_path_factory.mktemp("world")
    data = write_synthetic(folder / "bccd", train=6, val=4, test=4, options=SceneOptions(sides=(64, 96)))
    for path in data.glob("annotations/*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        for category, name in zip(document["categories"], ("RBC", "WBC", "Platelets"), strict=False):
            category["name"] = name
        path.write_text(json.dumps(document), encoding="utf-8")
    for name in ("data", "data/bccd", "D", "DATA", "three", "mine"):
        shutil.copytree(data, folder / name, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(data="bccd", run="bccd-1", image_size=64, width=0.125, epochs=1, batch_size=2, workers=0)
        for name in ("data-1", "train-1", "run-1", "three-1", "bccd-2", "new-1", "old-1"):
            shutil.copytree("runs/bccd-1", f"runs/{name}")
        assert main(["export", "runs/bccd-1", "--output", "bccd-1.onnx"]) == 0
        assert main(["eval", "--weights", "runs/bccd-1", "--data", "bccd", "--output", "scored"]) == 0
    shutil.copytree(folder / "runs/bccd-1/checkpoints/best", folder / "cells")
    for name in ("best.onnx", "detector.onnx", "mine.onnx", "model.onnx"):
        shutil.copy(folder / "bccd-1.onnx", folder / name)
    shutil.copy(folder / "scored/results.json", folder)
    shutil.copy(folder / "scored/results.json", folder / "theirs.json")
    for name in ("instances_val.json", "instances_test.json"):
        shutil.copy(data / "annotations/instances_val2017.json", folder / name)
    shutil.copytree(data / "val2017", folder / "val2017")
    images = sorted((data / "val2017").iterdir())
    for name in ("photographs", "photos", "street"):
        shutil.copytree(data / "val2017", folder / name)
    (folder / "images.txt").write_text("".join(f"street/{image.name}\n" for image in images))
    video = cv2.VideoWriter(str(folder / "car.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for image in images:
        video.write(cv2.resize(cv2.imread(str(image)), (64, 64)))
    video.release()
    return folder


# Verbs that take a second or two. The others train, export, decode and plot much, or leave this machine.
QUICK = {"anchors", "convert", "convert-data", "eval", "info", "predict"}
# Files and classes that a reader has; exported files of other pages.
FOREIGN = {"0-300_.ckpt", "bccd-1.xml", "bus", "coco", "groceries", "lorry:truck", "photo.jpg", "weights_fixed.ckpt"}
FOREIGN |= {"demo/data", "demo/data/test2017", "wrong.cfg", "x.ckpt", "yolov3-tiny-aix2022.cfg", "yolov3-tiny.cfg"}
FOREIGN |= {"tiny", "yolov3-tiny.pt", "zoo"}
# Once for each verb and set of options: other paths make no difference. Without --weights, predict takes coco.
QUICK_COMMANDS = {
    (words[0], *sorted(word for word in words if word.startswith("--"))): (page, words)
    for page, words in reversed(ALL_COMMANDS)
    if words[0] in QUICK and not FOREIGN & {*words} and (words[0] != "predict" or "--weights" in words)
}


@pytest.fixture(scope="module")
def place(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that folder for commands, which write beside what they read."""
    return Path(shutil.copytree(world, tmp_path_factory.mktemp("commands") / "world"))


@pytest.mark.parametrize(("page", "words"), QUICK_COMMANDS.values(), ids=[" ".join(key) for key in QUICK_COMMANDS])
def test_quick_commands_run_as_printed(
    page: str, words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del page
    monkeypatch.chdir(place)
    assert main(words) == 0


@pytest.mark.parametrize(
    ("page", "text"),
    [*examples("python", PYTHON_PAGES), *docstring_examples()],
    ids=lambda part: part if part.endswith((".md", ".py")) else "example",
)
def test_every_python_example_runs(
    page: str, text: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written, but trainings are short, and data sets made small; in a copy of that folder. `image` is an array of
    the reader's."""
    here = tmp_path / "world"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    for name, replaced in NAMES.items():
        text = text.replace(f'"{name}"', f'"{replaced}"')
    text = text.replace("image_size=320, epochs=30", "image_size=64, epochs=1")
    text = text.replace("image_size=64, epochs=1", "image_size=64, epochs=1, width=0.125")
    text = text.replace("train=20, val=10", "train=2, val=1")
    before = {"image": np.zeros((48, 64, 3), np.uint8)}
    exec(compile(inspect.cleandoc(text), page, "exec"), {"__name__": "__main__", **before})
