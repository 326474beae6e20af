"""Completion for shells: the parser's own, with the words that options take, their paths, and the modes."""

import inspect
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, get_args

from cyclopts import App, Parameter

import lookonce
from lookonce.cli.app import app_of
from lookonce.cli.overview import INTRODUCTION, MODES
from lookonce.cli.verbs import EXTRAS, VERBS
from lookonce.errors import COMMAND, SettingsError
from lookonce.settings.resolve import recipe_names
from lookonce.settings.schema import Settings
from lookonce.settings.text import PLACES, choices_of, kinds_of
from lookonce.targets import imported

Shell = Literal["bash", "zsh", "fish"]
SHELLS = get_args(Shell)
PUBLISHED, RUNTIMES = "lookonce.weights.published:PUBLISHED", "lookonce.runtimes.registry:RUNTIMES"
FORMATS = "lookonce.exporters.formats:FORMATS"
# Options whose type is text -> the words that they take, and the tables that have more; VERB OPTION where verbs differ.
WORDS: dict[str, tuple[str, ...]] = {
    "recipe": tuple(recipe_names()),
    "device": ("auto", "cpu", "cuda", "npu", "xpu", "mps"),  # those of devices.BACKENDS, which needs PyTorch
    "split": ("lookonce.data.splits:SPLITS",),
    "runtime": ("auto", RUNTIMES),
    "runtimes": ("auto", "all", RUNTIMES),
    "bench runtime": ("auto", "all", RUNTIMES),
    "export_check": (FORMATS,),
    "predict save": ("lookonce.workflows.predict_request:SAVES",),
    "export to": (FORMATS,),
    "export for_": ("lookonce.exporters.clients:CLIENTS",),
    "export outputs": ("detections", "decoded", "raw"),
    "convert to": ("lookonce.workflows.convert:WRITERS",),
    "job-file platform": ("lookonce.cloud.job_file:PLATFORMS",),
    "pull source": (PUBLISHED,),
}
# Those of WORDS that take several words, separated by commas.
LISTS = ("runtimes", "bench runtime", "export_check", "predict save", "export to", "export outputs", "convert to")


def completion(shell: str, *, install: bool) -> str:
    """The completion script for a shell, or, installed, where it is. SettingsError for another shell."""
    if shell not in ("", *SHELLS):
        raise SettingsError(f"completion: {shell}; expected {', '.join(SHELLS)}", setting="completion", value=shell)
    chosen: Any = shell or detected()
    script = script_for(chosen)
    if not install:
        return script
    place: Path = root(chosen).install_completion(shell=chosen)
    place.write_text(script, encoding="utf-8")
    if chosen == "zsh":
        start_completion(Path.home() / ".zshrc", place.parent)
    return f"written: {place}; it applies in new shells"


def detected() -> str:
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    try:
        return detect_shell()
    except ShellDetectionError as error:
        expected = f"not detected; expected {', '.join(SHELLS)} after the option"
        raise SettingsError(f"completion: {expected}", setting="completion") from error


def script_for(shell: Shell) -> str:
    """The parser's script, which completes each word of a list. In bash, files complete where no word does: `--weights
    runs/` is a folder; and `./run` completes too, if the script was made with it."""
    script = root(shell).generate_completion(shell=shell)
    if shell == "zsh":
        return ZSH_WORDS.sub(_in_zsh, script)
    if shell == "fish":
        return FISH_LIST + FISH_WORDS.sub(_in_fish, script)
    whole_lines = "local IFS=$'\\n'; COMPREPLY=( $(compgen -f"  # by itself it would split a name at its spaces
    script = BASH_WORDS.sub(_in_bash, script.replace("COMPREPLY=( $(compgen -f", whole_lines))
    commands = " ".join(map(quote, ("lookonce", *filter(None, [os.environ.get(COMMAND)]))))
    return script.replace("complete -F _lookonce lookonce", f"complete -o filenames -o default -F _lookonce {commands}")


# The parser's lines for an option that takes words.
BASH_WORDS = re.compile(r"local -a _c=\((.*)\)\n\s*local _q\n\s*COMPREPLY=\(\)\n\s*for _x in .*\n.*\n\s*done")
ZSH_WORDS = re.compile(r"compadd -- (?P<after_equals>'.*')|(?<=:)\((?P<words>[^()]*)\)(?=\")")
FISH_WORDS = re.compile(r"(?<= -x -a )'([^']*)'")
FISH_LIST = r"""
function __lookonce_list
    set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string replace -r '[^,]*$' '')
    for word in $argv
        echo "$before$word"
    end
end
"""


def _in_bash(lines: re.Match[str]) -> str:
    """Published names beside the files that match too; and each word of a list, not only its first."""
    words = lines[1].replace('"', "").split()
    if tuple(words) == _words((PUBLISHED,)):
        names = "\\n".join(words)
        return f"local IFS=$'\\n'; COMPREPLY=( $(compgen -f -W $'{names}' -- \"${{cur}}\") )"
    if not _are_listed(words):
        return lines[0]
    last = '"${cur##*,}"'
    return lines[0].replace('"${cur}"*', f"{last}*").replace('("$_q")', f'("${{cur%{last}}}$_q")')


def _in_zsh(line: re.Match[str]) -> str:
    words = (line["after_equals"] or line["words"]).replace("'", "").split()
    return f"_sequence compadd - {' '.join(words)}" if _are_listed(words) else line[0]


def _in_fish(line: re.Match[str]) -> str:
    return f"'(__lookonce_list {line[1]})'" if _are_listed(line[1].split()) else line[0]


def _are_listed(words: list[str]) -> bool:
    return tuple(words) in [_words(WORDS[name]) for name in LISTS]


def start_completion(startup_file: Path, folder: Path) -> None:
    """zsh reads the folders of fpath in compinit, which a plain .zshrc does not call, or before it adds our folder."""
    text = startup_file.read_text(encoding="utf-8", errors="surrogateescape") if startup_file.is_file() else ""
    if text.rfind("compinit") < text.find(str(folder)):
        lines = f"{text.rstrip()}\nautoload -Uz compinit && compinit\n"
        startup_file.write_text(lines, encoding="utf-8", errors="surrogateescape")


def root(shell: Shell) -> App:
    """All verbs as one app."""

    def no_verb(*, install_completion: Shell | None = None, show_completion: Shell | None = None) -> None: ...

    app = App(name="lookonce", help=INTRODUCTION, help_format="plaintext", version=lookonce.__version__)
    app.default(no_verb)
    for name, verb in VERBS.items():
        try:
            one, function = app_of(name, verb)
            completed(function, name, shell)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
            one = App(name=f"lookonce {name}", help=verb.summary)  # in the base install: no options
        app.command(one, name=name)
    return app


def completed(function: Callable[..., Any], verb: str, shell: Shell) -> None:
    """Give the options of a function made by `command_of` their words and paths as types, and add the modes."""
    signature = inspect.signature(function)
    of_verb = [
        parameter.replace(annotation=Annotated[kind, *parameter.annotation.__metadata__]) if kind else parameter
        for parameter in signature.parameters.values()
        for kind in [_type_of(verb, parameter, shell)]
    ]
    modes = [
        inspect.Parameter(
            mode, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, Parameter(negative=())]
        )
        for mode in (one.removeprefix("--") for one in MODES)
        if mode not in signature.parameters
    ]
    parameters = sorted([*of_verb, *modes], key=lambda parameter: parameter.kind)
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _type_of(verb: str, parameter: inspect.Parameter, shell: Shell) -> Any:
    """The words of an option as a Literal, or Path; None: as it is."""
    name, hint = parameter.name, parameter.annotation.__origin__
    words = WORDS.get(f"{verb} {name}", WORDS.get(name, ()))
    is_setting = hint == str | None and name in Settings.model_fields
    if shell == "bash" and name.endswith("weights") and hint in (str | None, Path, Path | None):
        words = (PUBLISHED,)
    if is_setting and not words:
        words = choices_of(name)
    if words:
        literal: Any = Literal
        return literal[_words(words)]
    return Path if (name in PLACES and hint is not bool) or (is_setting and Path in kinds_of(name)) else None


def _words(entries: Iterable[str]) -> tuple[str, ...]:
    """The words of entries of WORDS, those of their tables included."""
    return tuple(word for entry in entries for word in (imported(entry) if ":" in entry else (entry,)))
