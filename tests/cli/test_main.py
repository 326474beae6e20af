"""The command line as its user meets it: help, exit status, messages."""

import errno
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from lookonce.cli import verbs
from lookonce.cli.main import is_switched_on, main
from lookonce.cli.verbs import VERBS
from lookonce.errors import DataError, out_of_memory
from lookonce.exit_codes import ExitCode
from lookonce.log import console, get_logger, logging_to
from lookonce.settings.schema import Settings

HEAVY = ("torch", "cv2", "onnxruntime", "onnx", "hotcoco", "numpy", "pydantic", "cyclopts", "rich")


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from lookonce.cli.main import main; status = main(['--help']); "
        f"sys.exit(status or ','.join(set({HEAVY!r}) & set(sys.modules)) or 0)"
    )
    # Processor time, the least of three: on a busy machine a start is late for reasons that are not ours.
    seconds = []
    for _ in range(3):
        started = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        ended = os.times()
        assert done.returncode == 0, done.stderr
        seconds.append(ended.children_user + ended.children_system - started.children_user - started.children_system)
    assert 0 < min(seconds) < 0.5  # 0.1 here
    assert all(verb in done.stdout for verb in VERBS)


def test_help_and_wrong_use_of_every_verb_need_no_torch(tmp_path: Path):
    """In one process without PyTorch: --help, a mistyped option of each verb, and missing data, weights and sources."""
    missing = (
        *(
            "train --data {0}",
            "train --resume {0}",
            "train --data {1} --weights {0}",
            "eval --weights {0} --data {1}",
            "predict {0}",
        ),
        *("predict {1} --weights {0}", "export {0}", "verify {0} {0} --data {1}", "convert {0} --output {1}/new"),
        *("check {0}", "info {0}", "bench {0}", "report {0}", "push {0} {1}/new", "diagnose {0}"),
        *("anchors {0}", "explain-assignment {0}", "convert-data {0} {1}/new --to yolo"),
        *("export {1} --images {0}", "export {1} --precision int8 --calibration {0}", "diagnose {1} --data {0}"),
    )
    (tmp_path / "a.jpg").touch()
    lines = [line.format(tmp_path / "none", tmp_path) for line in missing]
    code = f"""
import sys
sys.modules["torch"] = None
from lookonce.cli.main import main
from lookonce.cli.verbs import VERBS
wrong = [verb for verb in VERBS if verb != "job" and main([verb, "--help"]) != 0]
wrong += [verb for verb in VERBS if verb != "job" and main([verb, "--no-such=1"]) != 2]
wrong += [line for line in {lines!r} if main(line.split()) not in (1, 2)]
sys.exit(",".join(wrong) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install" not in done.stderr  # the advice where torch is missing
    assert done.stderr.count(str(tmp_path / "none")) == len(lines)
    assert "--batch-size" in done.stdout


@pytest.mark.parametrize("verb", ["", "train", "config", "check", "anchors", "convert-data", "job"])
def test_help_fits_80_columns(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*verb.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80


def test_help_of_train_has_every_setting_by_group(capsys: pytest.CaptureFixture[str]):
    main(["train", "--help"])
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    assert "--per-batch-size" not in text
    assert text.index("─ Data ─") < text.index("─ Optimisation ─") < text.index("─ Evaluation ─")
    assert "[default: 416 pixels]" in text


def test_the_overview_breaks_each_paragraph_once(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    end = capsys.readouterr().out.partition("For every verb: ")[2]
    assert [len(paragraph.splitlines()) for paragraph in end.strip().split("\n\n")] == [3, 2]


def test_no_verb_shows_the_verbs(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert "lookonce VERB --help" in capsys.readouterr().out


def test_help_of_a_verb_has_two_spellings(capsys: pytest.CaptureFixture[str]):
    told = []
    for typed in (["help", "config"], ["config", "--help"]):
        assert main(typed) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != ""


@pytest.mark.parametrize("typed", ["version", "--version"])
def test_version(typed: str, capsys: pytest.CaptureFixture[str]):
    assert main([typed]) == 0
    assert capsys.readouterr().out.strip() == version("lookonce")


@pytest.mark.parametrize(
    ("typed", "status", "message"),
    [
        ("trian", 2, " train?"),
        ("--verison", 2, " --version?"),
        ("--weights coco", 2, "'--weights': "),
        ("train /", 2, "--data /"),
        ("eval", 2, "lookonce: weights: "),
        ("eval --weights", 2, "lookonce: weights: "),
        ("eval --weights a --tile", 2, "a whole number"),
        ("eval --weights a --tile x", 2, "lookonce: tile: x; "),
        ("eval --weights a --precision fp7", 2, "lookonce: precision: fp7; expected fp32 or fp16"),
        ("eval a b", 2, "lookonce: 'b': "),
        ("info w --model x", 2, "lookonce: model (weights): 'w'; "),
        ("predict a.jpg --input b.jpg", 2, "lookonce: input (source): 'a.jpg'; "),
        ("train .", 2, "expected --data .\n"),
        ("train 30", 2, "--epochs 30"),
        ("check", 2, "`lookonce check data/`"),
        ("predict a.jpg --weights w --pretrained v", 2, "lookonce: weights: v; "),
        ("predict a.jpg --conf .1 --conf-thres .2", 2, "lookonce: conf, conf_thres (threshold): .2; "),
        ("config --learning_rat 1", 2, " lr?"),
        ("config batch_size=3 per_batch_size=2", 2, "per_batch_size=2"),
        ("config --batch-size", 2, "lookonce config --help"),
        ("config lr=1 lr=2", 2, "lr"),
        ("config rank=3", 2, "lookonce: rank: 3; "),
        ("eval --help-me", 2, "help_me"),
        ("eval w --tile 5.5", 2, "tile: 5.5; "),
        ("config image_size=100", 2, "image_size: 100; "),
        ("config file=/nowhere.yaml", 2, "lookonce: /nowhere.yaml: "),
    ],
)
def test_wrong_use_is_told_in_words(
    typed: str,
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    add_verb: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    def evaluate(weights: str, *, tile: int = 1, precision: Literal["fp32", "fp16"] = "fp32") -> None: ...

    add_verb(evaluate)
    monkeypatch.setitem(VERBS, "eval", VERBS["try"])
    assert main(typed.split()) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_settings_reach_the_function_only_when_typed(add_verb: Callable[..., None]):
    seen: list[dict[str, Any]] = []
    add_verb(lambda **flags: seen.append(flags), from_settings=True)
    assert (
        main(["try", "--per_batch_size", "32", "lr_epochs=1,2", "--no-nesterov", "--resume", "--ckpt_interval", "-1"])
        == 0
    )
    (flags,) = seen
    given = {name: value for name, value in flags.items() if value is not None}
    assert given == {
        "per_batch_size": "32",
        "lr_epochs": "1,2",
        "nesterov": False,
        "resume": "true",
        "ckpt_interval": "-1",
    }


def test_the_exit_status_is_the_result_s(add_verb: Callable[..., None]):
    add_verb(lambda: types.SimpleNamespace(exit_code=75))
    assert main(["try"]) == 75
    add_verb(lambda: types.SimpleNamespace(num_errors=3))
    assert main(["try"]) == 1
    add_verb(lambda: types.SimpleNamespace(num_errors=0))
    assert main(["try"]) == 0
    add_verb(lambda: None)
    assert main(["try"]) == 0


def test_results_are_shown(add_verb: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys):
    add_verb(lambda: [1, 2])
    monkeypatch.setattr(sys.modules["lookonce_tried"], "as_text", lambda result: map(str, result))
    assert main(["try"]) == 0
    assert capsys.readouterr().out == "1\n2\n"


def test_bad_input_is_status_1_without_a_traceback(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise DataError("dog.txt line 3: class 80")

    add_verb(fail)
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "lookonce: dog.txt line 3: class 80\n"


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_traceback_is_shown_when_asked_for(how: str, add_verb, capsys, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise DataError("bad")

    add_verb(fail)
    if how == "environment":
        monkeypatch.setenv("LOOKONCE_TRACEBACK", "1")
    assert main(["try", *(["--traceback"] if how == "flag" else [])]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("off", ["", "0", "false", "No"])
def test_a_variable_that_is_off_switches_nothing_on(off: str, add_verb, capsys, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        get_logger().info("epoch 1")
        raise DataError("bad")

    add_verb(fail)
    for variable in ("LOOKONCE_TRACEBACK", "LOOKONCE_QUIET"):
        monkeypatch.setenv(variable, off)
    assert main(["try"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert "epoch 1" in shown


def test_ctrl_c_is_status_130(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def interrupted() -> None:
        raise KeyboardInterrupt

    add_verb(interrupted)
    assert main(["try"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_extra_is_named_with_its_command(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def needs_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    add_verb(needs_torch)
    assert main(["try"]) == 1
    assert 'pip install "lookonce[train]' in capsys.readouterr().err


def test_an_error_of_ours_has_its_own_status_and_a_traceback_when_asked_for(
    add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
):
    add_verb(lambda: 1 / 0)
    assert main(["try"]) == ExitCode.UNFORESEEN
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("ZeroDivisionError", "--traceback"))
    assert "Traceback" not in shown
    assert main(["try", "--traceback"]) == ExitCode.UNFORESEEN
    assert "Traceback" in capsys.readouterr().err


NO_MEMORY = (
    MemoryError(),
    RuntimeError("can't start new thread"),
    ImportError("x.so: failed to map segment from shared object"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
    type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_names_the_settings(error: Exception, add_verb, capsys: pytest.CaptureFixture[str]):
    def fill() -> None:
        raise error

    add_verb(fill)
    assert main(["try"]) == ExitCode.FAILED
    assert "memory" in capsys.readouterr().err


def test_out_of_memory_names_options_of_the_verb():
    named = ("--batch-size", "--image-size", "--accumulate", "--resume")
    assert all(option in out_of_memory("train") for option in named)
    assert "--accumulate" not in out_of_memory("eval")


def test_an_error_of_the_system_names_its_file(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def look(data: str = "x" * 300) -> None:
        Path(data).exists()

    add_verb(look)
    assert main(["try"]) == ExitCode.FAILED
    assert "xxx..." in capsys.readouterr().err
    for typed in (["--data", "y" * 300], [f"--data={'y' * 300}"], [f"data={'y' * 300}"]):
        assert main(["try", *typed]) == ExitCode.FAILED
        assert capsys.readouterr().err.startswith("lookonce: data: yyy")


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "lookonce", "version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, version("lookonce"))


def test_every_target_is_spelled_module_and_function():
    for verb in verbs.VERBS.values():
        module, _, function = verb.target.partition(":")
        assert module.startswith(("lookonce.workflows.", "lookonce.serving.", "lookonce.cloud."))
        assert function.isidentifier()
        assert verb.summary.endswith(".")


def test_lists_are_typed_one_after_another(add_verb: Callable[..., None]):
    seen: list[Any] = []

    def copy(source: str, *, splits: list[str] | None = None, to: str) -> None:
        seen.append((source, splits, to))

    add_verb(copy)
    assert main(["try", "a", "--splits", "train", "val", "--to", "yolo"]) == 0
    assert seen == [("a", ["train", "val"], "yolo")]


def test_what_a_verb_logs_reaches_the_terminal_once(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def logs() -> None:
        with logging_to():
            get_logger().info("epoch 1/1")

    console.cache_clear()  # the console holds on to the error stream it first saw
    add_verb(logs)
    assert main(["try"]) == 0
    console.cache_clear()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:]{8},\d{3}:INFO:epoch 1/1\n", capsys.readouterr().err)


def test_a_renamed_option_keeps_its_help(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]):
    def check(*, json_file: str = "") -> None:
        """Look.

        Parameters
        ----------
        json_file
            All findings.
        """

    add_verb(check, renames={"json_file": "json"})
    assert main(["try", "--help"]) == 0
    assert re.search(r"--json .*All findings\.", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("typed", "is_on"),
    [
        ("enable_modelarts=True", True),
        ("--enable-modelarts --data D", True),
        ("--data D --enable_modelarts", True),
        ("--enable_modelarts True", True),
        ("--enable_modelarts=False", False),
        ("enable_modelarts=0", False),
        ("--data enable", False),
    ],
)
def test_a_job_is_asked_for_in_the_document_s_words(typed: str, is_on: bool):
    assert is_switched_on("enable_modelarts", typed.split()) is is_on


def test_torch_npu_without_cann_says_what_to_do(
    tmp_path: Path, add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """What the end of `import torch` does, in a process that has imported it already."""
    (tmp_path / "torch_npu.py").write_text("raise ImportError('libhccl.so: cannot open shared object file')")
    (tmp_path / "torch_npu-2.9.dist-info").mkdir()
    (tmp_path / "torch_npu-2.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch-npu\nVersion: 2.9\n"
    )
    (tmp_path / "torch_npu-2.9.dist-info" / "entry_points.txt").write_text(
        "[torch.backends]\ntorch_npu = torch_npu:_autoload\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    add_verb(torch._import_device_backends)
    assert main(["try"]) == 1
    told = capsys.readouterr().err
    assert "\nlookonce: torch-npu " in f"\n{told}"
    assert "set_env.sh" in told
    assert "Traceback" not in told


def test_a_name_that_is_too_long_is_shortened_and_has_the_name_of_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    long = str(tmp_path / ("a" * 300))
    for line in ("train --data", "check --data", "predict --source"):
        assert main([*line.split(), long]) != 0
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith(f"lookonce: {line.split('--')[1]}: {long[:200]}...: ")
        assert long not in told


def test_several_sources_stand_without_their_option_and_standard_input_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.jpg").write_bytes(b"")
    name = str(tmp_path / "a.jpg")
    assert main(["predict", "--source", name, name]) == 2
    assert "without --source" in capsys.readouterr().err
    assert main(["predict", name, "-", "--weights", name]) != 0
    assert "beside other sources" in capsys.readouterr().err
