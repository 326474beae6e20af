"""The model zoo's document from top to bottom, on a small data set: its names, files, commands and log lines."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from started import is_there

from lookonce.cli.main import main, run_verb
from lookonce.cli.options import options_of
from lookonce.cli.signatures import command_of
from lookonce.cli.verbs import VERBS
from lookonce.cloud import job
from lookonce.cloud.plan import make_plan
from lookonce.data.loader import Loader
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.launch import is_wanted
from lookonce.remote.objects import Location, ObjectStore
from lookonce.settings.aliases import BY_OLD_NAME
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import is_said, resolve
from lookonce.settings.schema import Settings
from lookonce.settings.yaml_file import read_entries
from lookonce.training.engine import Learner, make_scaler
from lookonce.training.run_folder import RunFolder
from lookonce.training.trainer import Trainer, TrainResult
from lookonce.weights.load import load_weights
from lookonce.workflows import build
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


@pytest.fixture
def parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing the file and its recipe takes most of the time of those who read them for each of 70 values."""
    once = cache(read_entries)
    for module in ("settings.resolve", "cli.options", "cloud.job"):
        monkeypatch.setattr(f"lookonce.{module}.read_entries", once)


def text(value: Any) -> str:
    """A value of the file as it would be typed."""
    return str(value)


def test_the_configuration_file_trains_as_it_is(configuration: Path, values: dict[str, Any]) -> None:
    resolved = resolve({"file": configuration})
    recipe = resolve({"recipe": "modelzoo"}).settings
    as_document = {"data": values["data_dir"], "runs": Path(values["ckpt_path"])}
    assert resolved.settings == recipe.model_copy(update=as_document)
    assert not any(is_said(origin) for origin in resolved.origins.values())


@pytest.mark.usefixtures("parsed_once")
def test_each_value_may_be_typed_beside_the_file(document: str, configuration: Path, values: dict[str, Any]) -> None:
    section = document[document.index("Major parameters train.py") : document.index("## [Training Process]")]
    parameters = set(re.findall(r"^  --(\w+)", section, re.MULTILINE))
    for name, value in values.items():
        typed = resolve({"file": configuration, name: text(value)})
        assert typed.settings.recipe == "modelzoo"
        if name in parameters and BY_OLD_NAME[name].new and str(value):
            of_recipe = getattr(resolve({"recipe": "modelzoo"}).settings, BY_OLD_NAME[name].new)
            differs = {"data_dir", "device_target", "ckpt_path"}  # places and devices are no part of a recipe
            assert name in differs or getattr(typed.settings, BY_OLD_NAME[name].new) == of_recipe, name


@pytest.mark.usefixtures("parsed_once")
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


@pytest.mark.usefixtures("parsed_once")
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
        build.make_trainer(settings, learner, loader, None, record, RunFolder(tmp_path), [])
    assert seen == [True, False]


def test_need_profiler(data: Path) -> None:
    """What a profile does: test_train.py."""
    assert [made(data, need_profiler=on)[0].profile for on in (0, 1)] == [False, True]


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


# The commands, as they are printed; slow, for each starts processes.

ROOT = DOCS.parent
SMALL = ("max_epoch=1", "per_batch_size=2", "training_shape=64", "width=0.0625", "log_interval=1")
# The document: 2021-07-21 14:45:21,688:INFO:epoch[0], iter[400], loss:503.846949, fps:122.33 imgs/sec, lr:0.0002736
LOSS = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:"
    r"epoch\[0\], iter\[(\d+)\], loss:[\d.]+, fps:[\d.]+ imgs/sec, lr:[\d.e-]+"
)
TRAIN, TRAIN_GPU = "bash run_standalone_train.sh /path/to/coco", "bash run_standalone_train_gpu.sh /path/to/coco"
DISTRIBUTED = "bash run_distribute_train.sh /path/to/coco rank_table_8p.json"
DISTRIBUTED_GPU = "bash run_distribute_train_gpu.sh /path/to/coco 8 cpus_per_rank"
EVAL, EVAL_GPU = "bash run_eval.sh /path/to/coco /path/to/ckpt", "bash run_eval_gpu.sh /path/to/coco /path/to/ckpt"
EXPORT = "python export.py --ckpt_file [CKPT_PATH] --file_name [FILE_NAME] --file_format [FILE_FORMAT]"
INFER = "bash run_infer_cpp.sh [MINDIR_PATH] [DATA_PATH] [ANNO_PATH] [DEVICE_ID]"
GREP = 'grep "loss:" train/log.txt'
COMMANDS = {TRAIN, TRAIN_GPU, DISTRIBUTED, DISTRIBUTED_GPU, EVAL, EVAL_GPU, EXPORT, INFER, GREP}


def test_these_are_the_commands_of_the_document(document: str) -> None:
    printed = re.findall(r"^ *(?:# )?((?:bash run_|python export|grep )[^\n]*)$", document, re.MULTILINE)
    assert {command.replace("coco_dataset", "/path/to/coco") for command in printed} == COMMANDS


def start_command(
    command: str, folder: Path, *more: str, device: str = "cpu", **replaced: object
) -> subprocess.CompletedProcess[str]:
    """A command of the document in a folder, with its placeholders replaced; device "": the script's own choice."""
    words = command.split()
    words[1] = str(ROOT / ("scripts" if words[0] == "bash" else "") / words[1])
    given = {name.strip("[]"): str(value) for name, value in replaced.items()}
    words = [given.get(re.sub(r"\W+", "_", word).strip("_"), word) for word in words]
    words[0] = sys.executable if words[0] == "python" else words[0]
    environment = {**os.environ, "DEVICE": device, "FORCE_COLOR": "1", "OMP_NUM_THREADS": "1"}  # as CI runners have it
    return subprocess.run([*words, *more], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_in_background(command: str, folder: Path, *more: str, **replaced: Any) -> None:
    """Start a script of the document and wait for the process that it leaves behind."""
    done = start_command(command, folder, *more, **replaced)
    assert done.returncode == 0, done.stderr
    pid = int(done.stdout.split()[3].rstrip(";"))
    give_up = time.monotonic() + 500
    while is_there(pid):
        assert time.monotonic() < give_up
        time.sleep(0.05)


def losses(log: Path) -> list[str]:
    """What the document's `grep "loss:" LOG` gives: its lines and no other, each step once."""
    lines = subprocess.run(["grep", "loss:", log], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [LOSS.fullmatch(line) for line in lines]
    assert all(found), lines
    assert [match[1] for match in found if match] == [str(step) for step in range(len(lines))]
    return lines


def twelve(text: str) -> list[float]:
    """The numbers under the document's headline, which stands once."""
    assert text.count("=============coco eval reulst=========\n") == 1
    numbers = re.findall(r"^ Average (?:Precision|Recall) .* = (-?\d\.\d{3})$", text, re.MULTILINE)
    assert len(numbers) == 12
    return [float(number) for number in numbers]


def rank_table(folder: Path, devices: int) -> Path:
    cards = [{"device_id": str(n), "device_ip": f"192.1.{n}.6", "rank_id": str(n)} for n in range(devices)]
    path = folder / f"rank_table_{devices}p.json"
    path.write_text(json.dumps({"server_list": [{"server_id": "10.0.0.1", "device": cards}]}))
    return path


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the document is followed: what one command writes the next ones read."""
    return tmp_path_factory.mktemp("walk ü")


@pytest.fixture(scope="module")
def standalone(walk: Path, data: Path) -> RunFolder:
    run_in_background(TRAIN_GPU, walk, *SMALL, path_to_coco=data)
    (folder,) = (walk / "train" / "outputs").iterdir()
    return RunFolder(folder)


@pytest.fixture(scope="module")
def ckpt(walk: Path, standalone: RunFolder) -> Path:
    """The document's checkpoint, of MindSpore."""
    path = walk / "0-300_.ckpt"
    assert main(["convert", str(standalone.path), "--to", "mindspore", "--output", str(path.with_suffix(""))]) == 0
    return next(iter([path] if path.is_file() else sorted(path.with_suffix("").glob("*.ckpt"))))


def assert_every_rank_tells_the_losses(folder: Path, steps: int) -> None:
    """Those of all ranks together, in the log of each; what the main one says is also in the run folder's, as it is."""
    assert {path.name for path in folder.glob("train_parallel*")} == {"train_parallel0", "train_parallel1"}
    first, second = (losses(folder / f"train_parallel{rank}" / "log.txt") for rank in (0, 1))
    (log,) = (folder / "train_parallel0" / "outputs").glob("*/log.txt")
    assert losses(log) == first
    assert len(first) == steps
    told = [[re.search(r"iter.*loss:[\d.]+", line)[0] for line in lines] for lines in (first, second)]  # type: ignore[index]
    assert told[0] == told[1]


@pytest.mark.slow
def test_standalone_training_leaves_its_log_and_outputs(walk: Path, standalone: RunFolder) -> None:
    assert len(losses(walk / "train" / "log.txt")) == 4
    assert losses(standalone.log) == losses(walk / "train" / "log.txt")
    assert standalone.last.is_dir()
    assert "recipe: modelzoo" in standalone.settings.read_text()


@pytest.mark.slow
def test_on_ascend_the_same_command_says_what_is_missing_without_one(tmp_path: Path, data: Path) -> None:
    run_in_background(TRAIN, tmp_path, *SMALL, device="", path_to_coco=data)
    assert "npu" in (tmp_path / "train" / "log.txt").read_text()


@pytest.mark.slow
def test_evaluation_of_the_run_and_of_its_ckpt_give_one_number(walk: Path, data: Path, ckpt: Path) -> None:
    run_in_background(EVAL_GPU, walk, "--resamples=0", path_to_coco=data, path_to_ckpt=walk / "train/outputs/coco-1")
    of_run = twelve((walk / "eval" / "log.txt").read_text())
    metrics = json.loads((walk / "eval" / "metrics.json").read_text())
    assert of_run[0] == pytest.approx(metrics["AP"], abs=6e-4)
    assert metrics["evaluated"]["image_size"] == [64, 64]
    other = walk / "second"
    other.mkdir()
    run_in_background(EVAL, other, "--resamples=0", path_to_coco=data, path_to_ckpt=ckpt)
    assert twelve((other / "eval" / "log.txt").read_text()) == of_run


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            "MINDIR",
            marks=pytest.mark.skipif(
                not (ROOT / ".venv-mindspore").exists(),
                reason="no MindSpore; `./run mindspore -c 1` makes its environment",
            ),
        ),
        "ONNX",
    ],
)
def test_export_writes_the_file_that_it_names(kind: str, walk: Path, ckpt: Path) -> None:
    done = start_command(EXPORT, walk, CKPT_PATH=ckpt, FILE_NAME="yolov3_tiny", FILE_FORMAT=kind)
    assert done.returncode == 0, done.stderr
    assert (walk / f"yolov3_tiny.{kind.lower()}").is_file()


@pytest.mark.slow
def test_export_refuses_air_and_leaves_no_file(walk: Path, ckpt: Path) -> None:
    done = start_command(EXPORT, walk, CKPT_PATH=ckpt, FILE_NAME="yolov3_tiny", FILE_FORMAT="AIR")
    assert done.returncode != 0
    assert "AIR" in done.stderr.upper()
    assert not list(walk.glob("*.air"))


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "cpp/build/release/lookonce-infer").is_file(), reason="the C++ program is not built")
def test_inference_in_cpp_gives_the_number_of_the_evaluation(walk: Path, data: Path, ckpt: Path) -> None:
    folder = walk / "infer"
    folder.mkdir()
    replaced = {"DATA_PATH": data / "val2017", "ANNO_PATH": data / "annotations" / "instances_val2017.json"}
    told = start_command(INFER, folder, MINDIR_PATH=walk / "yolov3_tiny.mindir", **replaced, DEVICE_ID=0)
    assert told.returncode != 0
    assert "onnx" in told.stderr
    assert not list(folder.iterdir())
    assert main(["export", str(ckpt), "--to", "onnx", "--output", str(walk / "net.onnx")]) == 0
    done = start_command(INFER, folder, MINDIR_PATH=walk / "net.onnx", **replaced, DEVICE_ID="CPU")
    assert done.returncode == 0, done.stderr
    assert twelve((folder / "acc.log").read_text()) == twelve((walk / "eval" / "log.txt").read_text())
    assert len(list((folder / "result_Files").glob("*_[01].bin"))) == 6
    assert (folder / "time_Result" / "test_perform_static.txt").is_file()


@pytest.mark.slow
def test_training_on_the_devices_of_a_rank_table(data: Path, tmp_path: Path) -> None:
    table = rank_table(tmp_path, 2)
    run_in_background(DISTRIBUTED, tmp_path, *SMALL, path_to_coco=data, rank_table_8p_json=table.name)
    log = (tmp_path / "train_parallel0" / "log.txt").read_text()
    assert re.search(r"2 devices .*RANK_TABLE_FILE", log)
    assert re.search(r"2 batches of 4.* 2 processes", log)
    assert (tmp_path / "train_parallel0" / "outputs" / "job" / "checkpoints" / "last").is_dir()
    assert_every_rank_tells_the_losses(tmp_path, steps=2)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_training_on_several_devices_of_this_machine_with_cores_of_their_own(data: Path, tmp_path: Path) -> None:
    command = DISTRIBUTED_GPU.replace(" 8 ", " 2 ")
    run_in_background(command, tmp_path, *SMALL, path_to_coco=data, cpus_per_rank=1)
    assert re.search(r"2 batches of 4.* 2 processes", (tmp_path / "train_parallel0" / "log.txt").read_text())
    assert_every_rank_tells_the_losses(tmp_path, steps=2)
    assert "cpus_per_rank: 1" in next((tmp_path / "train_parallel0" / "outputs").glob("*/settings.yaml")).read_text()


# ModelArts: the startup files in a code directory, data and results in object storage.

WAY_B = ("enable_modelarts=True", "data_dir=/cache/data/coco2017/", "weight_decay=0.016", "warmup_epochs=4")
OUT = "s3://bucket/out"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The code directory: startup files, and the package as an unpacked wheel has it."""
    folder = tmp_path / "yolov3_tiny"
    folder.mkdir()
    for name in ("train.py", "eval.py"):
        shutil.copy(ROOT / name, folder)
    (folder / "lookonce").symlink_to(ROOT / "src" / "lookonce")
    return folder


def on_modelarts(code: Path, startup: str, *words: str, table: Path | None = None) -> str:
    """What a job prints that is started as the platform starts one, in a folder of its own."""
    machine = code.parent / f"machine-{len(list(code.parent.glob('machine-*')))}"
    machine.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"RANK_TABLE_FILE": str(table)} if table else {})
    command = [sys.executable, "-P", str(code / startup), *words]
    done = subprocess.run(command, cwd=machine, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def upload(folder: Path, place: str) -> None:
    ObjectStore().upload(folder, Location.parse(place))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("way", ["a", "b"])
def test_modelarts_trains_on_the_devices_of_its_rank_table_and_evaluates(
    way: str, devices: int, s3: Any, data: Path, ckpt: Path, code: Path, configuration: Path, tmp_path: Path
) -> None:
    zipped = Path(shutil.make_archive(str(tmp_path / "coco2017"), "zip", data.parent, data.name))
    upload(zipped, "s3://bucket/data/coco2017.zip")
    for path in (ckpt, *ckpt.parent.glob(f"{ckpt.name}?*"), *ckpt.parent.glob(f"{ckpt.stem}.json")):
        upload(path, f"s3://bucket/ckpt/0-300_{path.name.removeprefix(ckpt.stem)}")
    common = ("data_url=s3://bucket/data/", f"train_url={OUT}", "device_target=CPU")
    small = tuple(option for option in SMALL if not option.startswith("max_epoch"))
    of_eval = ("checkpoint_url=s3://bucket/ckpt/", "pretrained=/cache/checkpoint_path/0-300_.ckpt", "testing_shape=64")
    if way == "a":
        said = [*WAY_B, "max_epoch=5", *of_eval]
        changed = dict(option.split("=", 1) for option in said)
        text = configuration.read_text()
        for name, value in changed.items():
            text = re.sub(rf"^{name}: .*$", f"{name}: {value}", text, count=1, flags=re.MULTILINE)
        (code / "base_config.yaml").write_text(text)
        of_train, of_eval = (), ()
    else:
        of_train = (*WAY_B, "lr_scheduler=cosine_annealing", "max_epoch=5")
    words = (*common, *of_train, *(("checkpoint_url=",) if way == "a" else ()), *small)
    told = on_modelarts(code, "train.py", *words, table=rank_table(tmp_path, devices))
    assert re.search(rf"{devices} devices .*RANK_TABLE_FILE", told)
    assert re.search(rf" {devices} processes", told)
    assert re.search(r"recipe +modelzoo", told)
    assert re.search(r"(?m)^.*network .* dialect mindspore", told)
    names = {entry.name for entry in ObjectStore().entries(Location.parse(OUT))}
    assert {"job/log.txt", "job/settings.yaml", "job/checkpoints/last/CURRENT"} <= names
    told = on_modelarts(code, "eval.py", *common, *(WAY_B[:2] if way == "b" else ()), *of_eval)
    assert "64x64" in told
    metrics = json.loads(ObjectStore().get_text(Location.parse(f"{OUT}/eval/metrics.json")))
    assert "AP50" in metrics
