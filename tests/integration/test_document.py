"""The model zoo's document from top to bottom, on a small data set: its names, files, commands and log lines."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lookonce.cli.main import run_verb
from lookonce.cli.options import command_of, options_of
from lookonce.cli.verbs import VERBS
from lookonce.cloud import job
from lookonce.cloud.plan import make_plan
from lookonce.config.aliases import BY_OLD_NAME
from lookonce.config.pages import TRAIN_PARAMETERS
from lookonce.config.record import ModelRecord
from lookonce.config.resolve import is_said, resolve
from lookonce.config.schema import Settings
from lookonce.data.loader import Loader
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.training.engine import Learner, make_scaler
from lookonce.training.run_folder import RunFolder
from lookonce.training.trainer import Trainer, TrainResult
from lookonce.weights.load import load_weights
from lookonce.workflows import build
from lookonce.workflows.launch import is_wanted
from lookonce.workflows.train import train

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = {"max_epoch": 2, "per_batch_size": 2, "training_shape": 64, "width": 0.0625, "warmup_epochs": 0}


@pytest.fixture(scope="session")
def document(shared: Callable[[str], Path]) -> str:
    return shared("reference/modelzoo-document.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def configuration(shared: Callable[[str], Path]) -> Path:
    return shared("reference/default_config.yaml")


@pytest.fixture(scope="session")
def values(configuration: Path) -> dict[str, Any]:
    """What the configuration file holds."""
    first: dict[str, Any] = next(yaml.safe_load_all(configuration.read_text(encoding="utf-8")))
    return first


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16)
    return write_synthetic(tmp_path_factory.mktemp("data") / "coco", train=8, val=3, options=options)


def files_of(tree: str) -> set[str]:
    """The paths of a tree drawn with lines, below its root, without `scripts/`: they are started by their names."""
    found: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in tree.splitlines()[1:]:
        match = re.match(r"^([\s│├└─]*)([\w.]+)", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        while folders and folders[-1][0] >= depth:
            folders.pop()
        path = "/".join([*(folder for _, folder in folders), name])
        folders.append((depth, name))
        found.add(path.removeprefix("scripts/"))
    return found


def test_every_file_of_the_document_has_a_row(document: str) -> None:
    tree = re.search(r"└─yolov3-tiny\n.*?```", document, re.DOTALL)
    assert tree is not None
    files = files_of(tree[0])
    assert {"train.py", "src/loss.py", "ascend310_infer/src/main.cc", "run_eval.sh", "default_config.yaml"} <= files
    page = (DOCS / "modelzoo.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (\S)", page, re.MULTILINE)
    assert files - {name for name, _ in rows} == set()


def test_every_command_and_output_of_the_document_has_a_row(document: str) -> None:
    page = (DOCS / "modelzoo.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(run_\w+\.sh|\w+\.ckpt|\w+\.log|\w+\.py|\w+\.yaml|log\.txt|\w+\.cfg)\b", document))
    assert len(named) > 20
    assert {name for name in named if name not in page} == set()
    options = set(re.findall(r"--(\w+)", document)) - {"help"}
    options |= set(re.findall(r'"(\w+)=', document))
    assert {name for name in options if f"| `{name}` |" not in page} == set()


def test_every_option_of_the_configuration_file_has_a_row(values: dict[str, Any]) -> None:
    page = (DOCS / "modelzoo.md").read_text(encoding="utf-8")
    assert {name for name in values if f"| `{name}` |" not in page} == set()
    assert {name for name, value in values.items() if not BY_OLD_NAME[name].is_default(value)} == set()


def test_links_of_the_page_lead_somewhere() -> None:
    page = (DOCS / "modelzoo.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)#]+)\)", page))
    assert len(links) > 30
    assert [link for link in links if not (DOCS / link).exists()] == []


def text(value: Any) -> str:
    """A value of the file as it would be typed."""
    return str(value)


def test_the_configuration_file_trains_as_it_is(configuration: Path, values: dict[str, Any]) -> None:
    resolved = resolve({"file": configuration})
    recipe = resolve({"recipe": "modelzoo"}).settings
    as_document = {"data": values["data_dir"], "runs": Path(values["ckpt_path"])}
    assert resolved.settings == recipe.model_copy(update=as_document)
    assert not any(is_said(origin) for origin in resolved.origins.values())


def test_each_value_may_be_typed_beside_the_file(configuration: Path, values: dict[str, Any]) -> None:
    for name, value in values.items():
        typed = resolve({"file": configuration, name: text(value)})
        assert typed.settings.recipe == "modelzoo"
        if name in TRAIN_PARAMETERS and BY_OLD_NAME[name].new and str(value):
            of_recipe = getattr(resolve({"recipe": "modelzoo"}).settings, BY_OLD_NAME[name].new)
            differs = {"data_dir", "device_target", "ckpt_path"}  # places and devices are no part of a recipe
            assert name in differs or getattr(typed.settings, BY_OLD_NAME[name].new) == of_recipe, name


@pytest.mark.parametrize("verb", ["eval", "export", "predict"])
def test_other_verbs_take_the_file_and_each_of_its_values(
    verb: str, configuration: Path, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    options = options_of(command_of(VERBS[verb].load(), VERBS[verb].renames), verb)
    of_file = options.normalised([f"--file={configuration}"])
    assert ("--data=/cache/data/coco2017/" in of_file) == (verb == "eval")
    assert ("--to=mindir" in of_file) == (verb == "export")
    assert not any("image-size" in option or "device" in option for option in of_file)
    for name, value in values.items():
        caplog.clear()
        typed = options.normalised([f"{name}={text(value)}", f"--file={configuration}"])
        spaced = options.normalised([f"--file={configuration}", f"--{name}", text(value)])
        assert name in options.names or sorted(spaced) == sorted(typed)
        assert {option.partition("=")[0] for option in of_file} <= {option.partition("=")[0] for option in typed}
        meant = BY_OLD_NAME[name].means_in(verb, options.names) or name in options.names
        assert meant or [name in note for note in caplog.messages] == [True, True]


def test_a_job_takes_the_file_and_each_of_its_values(
    configuration: Path, values: dict[str, Any], tmp_path: Path
) -> None:
    eight = make_plan({"MA_NUM_GPUS": "8"})
    for more in ({}, *({name: text(value)} for name, value in values.items() if name != "device_target")):
        options, told = job.read_flags({"file": str(configuration), **more}, {})
        settings = job.settings_of_job(told, eight)
        assert (options.data_url, settings["recipe"]) == ("", "modelzoo")
        assert settings["devices"] == (1 if "group_size" in more else 8)  # a typed number is a choice
    own = tmp_path / "base_config.yaml"  # way a: it is the file that says so
    own.write_text(configuration.read_text().replace("enable_modelarts: False", "enable_modelarts: True"))
    assert job.read_flags({"file": str(own)}, {})[1].from_document


# Script Parameters: each changes what it says it does.


def made(data: Path, **typed: Any) -> tuple[Settings, Learner]:
    """What training would start with: options as they are typed, beside the recipe that they imply."""
    settings = resolve({"data": str(data), "device_target": "CPU", **TINY, **typed}).settings
    loader, record = loader_of(settings)
    return settings, build.make_learner(settings, record, len(loader), torch.device("cpu"))


def loader_of(settings: Settings) -> tuple[Loader, ModelRecord]:
    dataset = open_data(settings.data).split("train")
    record = build.make_record(settings, dataset, "")
    return build.make_train_loader(settings, dataset, record.preprocessing, torch.device("cpu")), record


def rates(data: Path, **typed: Any) -> list[float]:
    """The learning rate of each epoch's first step; 8 pictures in batches of 2 are 4 steps an epoch."""
    settings, learner = made(data, **typed)
    return [learner.schedule.lr_at(4 * epoch) for epoch in range(settings.epochs)]


def trained(data: Path, folder: Path, **typed: Any) -> TrainResult:
    options = {"data_dir": str(data), "device_target": "CPU", "ckpt_path": str(folder), **TINY, "max_epoch": 1, **typed}
    return train(**options)


LOG_LINE = re.compile(r"epoch\[\d+\], iter\[\d+\], loss:")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return trained(data, tmp_path_factory.mktemp("runs") / "outputs", log_interval=2, max_epoch=2)


def test_data_dir_device_target_and_ckpt_path(run: TrainResult, data: Path) -> None:
    assert (run.run.path.parent.name, run.run.path.name) == ("outputs", "coco-1")
    log = run.run.log.read_text()
    assert f"{data}: " in log
    assert " on cpu " in log


def test_per_batch_size_max_epoch_training_shape_and_log_interval(run: TrainResult) -> None:
    log = run.run.log.read_text()
    assert re.search(r"2 epochs x 4 batches of 2\b", log)
    assert "64x64" in log
    assert len(LOG_LINE.findall(log)) == 4  # of eight steps every second


def test_lr_scheduler_lr_lr_epochs_and_lr_gamma(data: Path) -> None:
    given = {"lr_scheduler": "exponential", "lr": 0.01, "lr_epochs": "1,3", "lr_gamma": 0.5, "max_epoch": 4}
    assert rates(data, **given) == pytest.approx([0.01, 0.005, 0.005, 0.0025])


def test_eta_min_and_t_max(data: Path) -> None:
    given = {"lr_scheduler": "cosine_annealing", "lr": 0.01, "eta_min": 0.002, "t_max": 8, "max_epoch": 3}
    expected = [0.002 + 0.008 * (1 + math.cos(math.pi * epoch / 8)) / 2 for epoch in range(3)]
    assert rates(data, **given) == pytest.approx(expected)


def test_warmup_epochs(data: Path) -> None:
    _, learner = made(data, warmup_epochs=2, lr=0.08, max_epoch=4)
    assert [learner.schedule.lr_at(step) for step in range(8)] == pytest.approx([0.01 * (n + 1) for n in range(8)])


def test_weight_decay_and_momentum(data: Path) -> None:
    _, learner = made(data, weight_decay=0.25, momentum=0.75)
    assert [group["weight_decay"] for group in learner.optimizer.param_groups] == [0.25, 0]  # 0: biases, BatchNorm
    assert {group["momentum"] for group in learner.optimizer.param_groups} == {0.75}


def test_loss_scale(data: Path) -> None:
    settings, _ = made(data, loss_scale=512)
    scaler = make_scaler("fp16", torch.device("cpu"), settings.loss_scale)  # fp16 itself needs an accelerator
    assert scaler.get_scale() == 512


def test_label_smooth_and_label_smooth_factor(data: Path) -> None:
    smoothing = [made(data, label_smooth=on, label_smooth_factor=0.2)[1].loss.label_smoothing for on in (0, 1)]
    assert smoothing == [0, 0.2]


def test_pretrained_backbone_and_resume_yolo(run: TrainResult, data: Path) -> None:
    source = load_weights(run.run.last)[0].state_dict()

    def taken_over(**typed: Any) -> tuple[bool, bool]:
        """Whether the backbone's and the heads' arrays are those of the run."""
        state = made(data, **typed)[1].model.state_dict()
        same = {name: torch.equal(state[name], source[name]) for name in source if source[name].ndim > 1}
        backbone = [equal for name, equal in same.items() if name.startswith("backbone")]
        heads = [equal for name, equal in same.items() if name.startswith("head")]
        assert backbone
        assert heads
        return all(backbone), all(heads)

    assert taken_over() == (False, False)
    assert taken_over(pretrained_backbone=str(run.run.last)) == (True, False)
    assert taken_over(resume_yolo=str(run.run.last)) == (True, True)


def test_ckpt_interval(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    original = Trainer._save_last

    def save_last(self: Trainer, *arguments: Any, **more: Any) -> Any:
        saved.append(self.position.batch)
        return original(self, *arguments, **more)

    monkeypatch.setattr(Trainer, "_save_last", save_last)
    trained(data, tmp_path, ckpt_interval=3)
    assert saved.count(3) == 1  # after batch 3 of 4, and at the end


def test_is_save_on_master(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one device nothing differs; what several do then: tests/training/test_trainer.py."""
    seen: list[bool] = []
    monkeypatch.setattr(build, "Trainer", lambda *_, options, **__: seen.append(options.save_on_all))
    for on in (0, 1):
        settings, learner = made(data, is_save_on_master=on)
        loader, record = loader_of(settings)
        build.make_trainer(settings, learner, loader, None, record, RunFolder(tmp_path))
    assert seen == [True, False]


def test_need_profiler(data: Path, tmp_path: Path) -> None:
    profiled = trained(data, tmp_path, need_profiler=1)
    assert (profiled.run.path / "profile.txt").is_file()
    assert not profiled.run.has_checkpoint


def test_resize_rate(data: Path) -> None:
    given = {"training_shape": 0, "multi_scale": "64,96,128", "resize_rate": 2}
    loader, _ = loader_of(made(data, **given)[0])
    sizes = [batch.images.shape[1] for epoch in range(8) for batch in loader.epoch(epoch)]
    pairs = list(zip(sizes[::2], sizes[1::2], strict=True))
    assert all(first == second for first, second in pairs)  # drawn for two batches
    assert set(sizes) == {64, 96, 128}


def test_is_distributed_rank_and_group_size() -> None:
    wanted = {
        size: is_wanted(resolve({"is_distributed": 1, "rank": 0, "group_size": size}).settings) for size in (1, 2)
    }
    assert wanted == {1: False, 2: True}  # what two processes do: the distributed scripts, below


def test_help_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("train", VERBS["train"], ["--help"]) == 0
    assert "--batch-size" in capsys.readouterr().out
