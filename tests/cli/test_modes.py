"""--quiet, --json, --version, completion, examples, and commands as they are typed where the user stands."""

import json
import logging
import math
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from lookonce.cli import main as command_line
from lookonce.cli.app import app_of, examples_of
from lookonce.cli.as_json import jsonable
from lookonce.cli.completion import LISTS, WORDS, completion, start_completion
from lookonce.cli.main import main, modes_of
from lookonce.cli.options import options_of
from lookonce.cli.verbs import VERBS, Verb
from lookonce.devices import BACKENDS
from lookonce.errors import DataError, SettingsError
from lookonce.log import COMMAND_WORDS, command_here, console, get_logger
from lookonce.reports.elements import command_block
from lookonce.request import LISTED


@dataclass(frozen=True, kw_only=True)
class Result:
    folder: Path
    AP: float = math.nan
    hidden: object = field(default=None, repr=False)

    @property
    def num_errors(self) -> int:
        return 1


@pytest.fixture(autouse=True)
def own_console() -> Iterator[None]:
    console.cache_clear()  # the console holds on to the error stream it first saw
    yield
    console.cache_clear()


def test_json_is_all_of_stdout(add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> Result:
        print("printed meanwhile")
        get_logger().warning("logged")
        return Result(folder=Path("runs/a"))

    add_verb(verb)
    assert main(["try", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"folder": "runs/a", "AP": None, "num_errors": 1}
    assert "printed meanwhile" in shown.err
    assert "logged" in shown.err


def test_quiet_leaves_warnings_and_results(
    add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOKONCE_QUIET", raising=False)

    def verb() -> list[int]:
        get_logger().info("epoch 1")
        get_logger().warning("careful")
        return [3]

    add_verb(verb)
    assert main(["try", "--quiet"]) == 0
    shown = capsys.readouterr().err
    assert "careful" in shown
    assert "epoch 1" not in shown
    assert main(["try"]) == 0
    assert "epoch 1" in capsys.readouterr().err


def test_a_mode_may_be_typed_anywhere_but_a_file_stays_an_option() -> None:
    assert modes_of(["predict", "a.jpg", "--json", "--quiet"]) == (["predict", "a.jpg"], {"json", "quiet"})
    assert modes_of(["check", "d", "--json", "out.json"]) == (["check", "d", "--json", "out.json"], set())
    assert modes_of(["check", "d", "--json"]) == (["check", "d"], {"json"})
    assert modes_of(["predict", "--", "--json"]) == (["predict", "--", "--json"], set())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.arange(2), [0, 1]),
        ({1: (Path("a"), None)}, {"1": ["a", None]}),
        (frozenset("ba"), ["a", "b"]),
        (math.inf, None),
    ],
)
def test_values_of_json(value: Any, expected: Any) -> None:
    assert jsonable(value) == expected


def test_a_slow_verb_says_that_it_works(
    add_verb: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "SECONDS_OF_SILENCE", 0.01)
    monkeypatch.setattr(command_line, "SECONDS_OF_CHECKS", 0.01)
    caplog.set_level(logging.INFO)
    add_verb(lambda: time.sleep(0.1))
    main(["try"])
    assert sum(message.startswith("try: ") for message in caplog.messages) == 1
    monkeypatch.setattr(command_line, "SECONDS_OF_SILENCE", 60)
    caplog.clear()
    main(["try"])
    assert caplog.messages == []


def test_an_error_of_the_options_comes_alone(
    add_verb: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "SECONDS_OF_SILENCE", 0)
    caplog.set_level(logging.INFO)

    def wrong(*, threshold: float = 0.5) -> None:
        raise SettingsError.of("threshold", threshold, "expected a number from 0 to 1")

    add_verb(wrong)
    main(["try", "--threshold", "30"])
    main(["try", "--threshold", "high"])
    main(["try", "--tile", "30"])
    time.sleep(0.1)
    assert caplog.messages == []


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_ends_with_two_examples_that_are_parsed(verb: str) -> None:
    app, function = app_of(verb, VERBS[verb])
    assert len(VERBS[verb].examples) == 2
    for example in VERBS[verb].examples:
        name, *tokens = shlex.split(example)
        assert name == verb
        rest, _ = modes_of([name, *tokens])
        normalised = options_of(function, verb).normalised(rest[1:])
        app.parse_args(normalised, exit_on_error=False, print_error=False)
        assert example in examples_of(VERBS[verb])


def test_completion_of_each_shell_knows_verbs_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VERBS.keys() - {"train", "doctor"}:
        monkeypatch.delitem(VERBS, name)
    for shell in ("bash", "zsh", "fish"):
        script = completion(shell, install=False)
        assert "doctor" in script
        assert "batch-size" in script


def test_bash_completes_words_paths_modes_and_the_command_of_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in VERBS.keys() - {"train", "export", "pull", "bench"}:
        monkeypatch.delitem(VERBS, name)
    monkeypatch.setenv("LOOKONCE_COMMAND", "./run")
    for name in ("mine.yaml", "coming", "two words"):
        (tmp_path / name).touch()
    script = completion("bash", install=False)
    assert script.endswith("_lookonce lookonce ./run\n")
    cases = {
        "--install-completion ": "bash zsh fish",
        "train --recipe mo": "modelzoo modern",
        "train --optimizer ": "sgd adamw",
        "train --device ": " ".join(("auto", *sorted(BACKENDS))),
        "train --data mi": "mine.yaml",
        "train --file mi": "mine.yaml",
        "train --data tw": "two words",
        "train --weights co": "coming coco",
        "train --weights com": "coming",
        "train --export-check onnx,openv": "onnx,openvino",
        "export --weights co": "coming coco",
        "export --to on": "onnx",
        "export --to onnx,openv": "onnx,openvino",
        "export --to onnx,openvino,nc": "onnx,openvino,ncnn",
        "export --precision fp16,fp": "",
        "bench --runtime opencv,onn": "opencv,onnxruntime",
        "export --for fri": "frigate",
        "export --qu": "--quiet",
        "pull coc": "coco",
    }
    calls = "".join(
        f"COMP_WORDS=({' '.join(map(shlex.quote, ['lookonce', *typed.split(' ')]))}); "
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lookonce; echo "${COMPREPLY[@]}"\n'
        for typed in cases
    )
    ran = subprocess.run(["bash", "-c", script + calls], cwd=tmp_path, capture_output=True, text=True, check=True)
    completed = dict(zip(cases, ran.stdout.splitlines(), strict=True))
    completed["train --device "] = " ".join(sorted(completed["train --device "].split()))
    assert completed == cases


# What is typed -> the line after Tab; both shells complete the first and each further word of a list.
LISTS_TYPED = {
    "lookonce export --to openv": "lookonce export --to openvino",
    "lookonce export --to onnx,openv": "lookonce export --to onnx,openvino",
    "lookonce export --to=onnx,openvino,nc": "lookonce export --to=onnx,openvino,ncnn",
    "lookonce bench --runtime opencv,onn": "lookonce bench --runtime opencv,onnxruntime",
    "lookonce export --precision int": "lookonce export --precision int8",
}


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_each_word_of_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VERBS.keys() - {"export", "bench"}:
        monkeypatch.delitem(VERBS, name)
    calls = "".join(f"complete -C {shlex.quote(typed)}\n" for typed in LISTS_TYPED)
    script = completion("fish", install=False) + calls
    ran = subprocess.run(["fish", "--no-config"], input=script, capture_output=True, text=True, check=True)
    words = [line.partition("\t")[0] for line in ran.stdout.splitlines()]
    assert words == [line.rpartition(" ")[2] for line in LISTS_TYPED.values()]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes_each_word_of_a_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VERBS.keys() - {"export", "bench"}:
        monkeypatch.delitem(VERBS, name)
    (tmp_path / "_cyclopts_lookonce").write_text(completion("zsh", install=False))
    (tmp_path / "types.zsh").write_text(r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D
show() { zle complete-word; print -r -- \"<\$BUFFER>\"; BUFFER= }; zle -N show; bindkey '^X' show; print 're'ady"
zpty -r shell out '*ready*'
for typed in "${@:2}"; do
  zpty -w -n shell "$typed"$'\x18'
  zpty -r shell out '*<*>*'
  print -r -- "${${out##*<}%%>*}"
done
""")
    command = ["zsh", "-f", str(tmp_path / "types.zsh"), str(tmp_path), *LISTS_TYPED]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60)
    # After a word of a list stands a comma, which goes when a space is typed.
    assert [line.rstrip(" ,") for line in ran.stdout.splitlines()] == list(LISTS_TYPED.values())


def test_completion_knows_which_options_are_lists() -> None:
    listed = {
        f"{verb} {name}"
        for verb in VERBS
        for name, hint in get_type_hints(VERBS[verb].load(), include_extras=True).items()
        if LISTED in str(hint) and (f"{verb} {name}" in WORDS or name in WORDS)
    }
    assert listed == {name for name in LISTS if " " in name} | {"verify runtimes"}


def test_a_verb_whose_packages_are_not_installed_is_completed_without_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VERBS.keys() - {"train"}:
        monkeypatch.delitem(VERBS, name)

    def load(_: object) -> None:
        raise ModuleNotFoundError(name=missing)

    monkeypatch.setattr(Verb, "load", load)
    monkeypatch.setitem(VERBS, "try", Verb(target="", summary="Try."))
    missing = "onnx"
    assert "try" in completion("bash", install=False)
    missing = "lookonce_mistyped"
    with pytest.raises(ModuleNotFoundError):
        completion("bash", install=False)


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("", False),  # oh-my-zsh, whose own folder it is
        ("fpath=(FOLDER $fpath)\n", True),
        ("fpath=(FOLDER $fpath)\nautoload -Uz compinit && compinit\n", False),
        ("compinit\nfpath=(FOLDER $fpath)", True),
    ],
)
def test_zsh_calls_compinit_once_its_folders_are_known(before: str, added: bool, tmp_path: Path) -> None:
    startup_file = tmp_path / ".zshrc"
    startup_file.write_text(before.replace("FOLDER", "/home/me/.zsh/completions"))
    for _ in range(2):
        start_completion(startup_file, Path("/home/me/.zsh/completions"))
    assert startup_file.read_text().count("compinit\n") == before.count("compinit\n") + added


def test_an_unknown_shell_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--show-completion", "csh"]) == 2
    assert "csh" in capsys.readouterr().err


def test_the_version_is_that_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--version"]) == 0
    assert capsys.readouterr().out.strip()
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"version"}


@pytest.mark.parametrize(
    ("verb", "usage"),
    [
        ("predict", "[OPTIONS] SOURCE..."),
        ("monitor", "[OPTIONS] RUN..."),
        ("verify", "--data PATH [OPTIONS] FILES..."),
        ("pull", "[OPTIONS] [SOURCE] [OUTPUT]"),
    ],
)
def test_the_usage_line_names_each_value(verb: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"Usage: lookonce {verb} {usage}"


def test_hints_are_commands_that_work_here(
    add_verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise DataError("run `lookonce pull coco` once; lookonce's own")

    add_verb(fail)
    monkeypatch.setenv("LOOKONCE_COMMAND", "./run")
    main(["try"])
    assert capsys.readouterr().err == "lookonce: run `./run pull coco` once; lookonce's own\n"
    assert main(["--help"]) == main(["doctor", "--help"]) == 0
    assert re.findall(r"Usage: (.*?) \[", capsys.readouterr().out) == ["./run VERB", "./run doctor"]
    assert "./run check &#x27;my data&#x27;" in command_block(["lookonce check 'my data'"])
    assert command_here("where lookonce expects") == "where lookonce expects"
    assert {*VERBS} - {"try"} == {*COMMAND_WORDS}
    assert command_here(command_here("lookonce --help; lookonce check D")) == "./run lookonce --help; ./run check D"
    monkeypatch.delenv("LOOKONCE_COMMAND")
    assert command_here("lookonce train") == "lookonce train"
