"""`lookonce VERB ...`: parses the options, runs the verb's function, and reports errors as messages and exit status.

Exit status: 0 success; 1 invalid input, or findings that are errors; 2 invalid option or setting; 74 some results of a
job were not uploaded; 75 the run was stopped and can be resumed; 130 Ctrl-C.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

import lookonce
from lookonce.cli.verbs import VERBS, Verb
from lookonce.config.names import suggestion
from lookonce.errors import NO_CANN, NO_TORCH_NPU, LookonceError, MissingExtra, SettingsError
from lookonce.layout import Layout
from lookonce.log import logging_to

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
HELP_WIDTH = 80
# Missing module -> the extra that installs it.
EXTRAS = {"torch": "train", "onnx": "train", "onnxscript": "train"}
EXTRAS |= {"google": "mindspore", "huggingface_hub": "hub"}
INTRODUCTION = "The complete YOLOv3-Tiny detector: train, evaluate, predict, export."
EPILOGUE = """\
lookonce VERB --help lists the options of a verb.
--batch-size 8, --batch_size=8 and batch_size=8 are equivalent.
--traceback prints the Python traceback of an error."""


def main(tokens: Sequence[str] | None = None, *, from_document: bool = False) -> int:
    """Run one command line (default: sys.argv[1:]) and return its exit status.

    from_document: it was typed in the model zoo's form, so that errors name options in this form too.
    """
    tokens = list(sys.argv[1:] if tokens is None else tokens)
    show_traceback = os.environ.get("LOOKONCE_TRACEBACK", "") not in {"", "0"} or "--traceback" in tokens
    tokens = [token for token in tokens if token != "--traceback"]
    try:
        with logging_to():
            return run(tokens)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED, show_traceback)
    except SettingsError as error:
        return _fail(str(_as_typed(error, tokens, from_document=from_document)), WRONG_USE, show_traceback)
    except LookonceError as error:
        return _fail(str(error), FAILED, show_traceback)
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; Python would report it again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def run(tokens: Sequence[str]) -> int:
    """Like `main`, but errors are raised."""
    if not tokens or tokens[0] in {"--help", "-h", "help"}:
        overview().help_print([], console=_console())
        return 0
    if tokens[0] in {"--version", "version"}:
        print(lookonce.__version__)
        return 0
    name, *rest = tokens
    if name not in VERBS:
        raise SettingsError(
            f"unknown verb {name!r}{suggestion(name, VERBS) or '; lookonce --help lists all verbs'}", value=name
        )
    if (switch := VERBS[name].is_job_when) and is_switched_on(switch, rest):
        name, rest = "job", [f"task={name}", *rest]
    return run_verb(name, VERBS[name], rest)


def names_in(tokens: Sequence[str]) -> set[str]:
    """The names of the typed options, with `_`, and the values that look like one."""
    return {token.removeprefix("--").partition("=")[0].replace("-", "_") for token in tokens}


def _as_typed(error: SettingsError, tokens: Sequence[str], *, from_document: bool) -> SettingsError:
    from lookonce.config.aliases import BY_OLD_NAME, as_named
    from lookonce.config.schema import Settings

    typed = names_in(tokens[1:])
    is_of_document = from_document or bool(typed & (BY_OLD_NAME.keys() - Settings.model_fields.keys()))
    return as_named(error, typed, tokens[0] if tokens else "", from_document=is_of_document)


def is_switched_on(switch: str, tokens: Sequence[str]) -> bool:
    """Whether a switch is on: `--switch`, `--switch=True`, `--switch True` or `switch=True`, or in the --file."""
    value = _value_of(switch, tokens)
    file = _value_of("file", tokens) or _value_of("config_path", tokens)
    if value is None and file and Path(file).is_file():
        from lookonce.config.yaml_file import read_entries

        value = next((str(entry.value) for entry in read_entries(Path(file)) if entry.name == switch), None)
    return (value or "").lower() in {"true", "1", "yes", "on"}


def _value_of(option: str, tokens: Sequence[str]) -> str | None:
    """The typed value of an option, "true" if it has none; None if the option was not typed."""
    for token, following in pairwise([*tokens, "--"]):
        name, _, value = token.removeprefix("--").partition("=")
        if name.replace("-", "_") == option:
            return value or ("true" if following.startswith("--") or "=" in following else following)
    return None


def run_verb(name: str, verb: Verb, tokens: Sequence[str]) -> int:
    """Call the verb's function with the typed options and return the exit status, from `exit_code` or `num_errors` of
    its result."""
    from lookonce.cli.options import command_of, options_of  # importing the settings takes 0.25 s

    try:
        loaded = _late(verb) if verb.from_settings else verb.load()
        function = command_of(loaded, verb.renames, traits=verb.traits, tolerant=verb.tolerant)
        app = App(
            name=f"lookonce {name}",
            help=None if function.__doc__ else verb.summary,
            version_flags=(),
            result_action="return_value",
            suppress_keyboard_interrupt=False,
            help_format="plaintext",
            default_parameter=Parameter(negative_iterable=(), consume_multiple=True),
        )
        app["--help"].show = False
        app.default(function)
        normalised = options_of(function, name).normalised(_typed(token) for token in tokens)
        result = app(normalised, console=_console(), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise SettingsError(f"lookonce {name}: {error}\n`lookonce {name} --help` lists its options") from error
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(f"lookonce {name}", extra) from error
    except RuntimeError as error:
        if NO_TORCH_NPU not in str(error):
            raise
        raise LookonceError(NO_CANN) from error
    for line in () if result is None else verb.lines(result, _layout()):  # None: after --help
        print(line)
    return int(getattr(result, "exit_code", 0)) or int(getattr(result, "num_errors", 0) > 0)


def _typed(token: str) -> str:
    """`./coco`, also as `--weights=./coco`, as a path that stays one: see `as_typed`."""
    from lookonce.weights.pull import as_typed

    option, equals, value = token.rpartition("=")
    return f"{option}{equals}{as_typed(value)}"


def overview() -> App:
    """The page of `lookonce --help`."""
    app = App(
        name="lookonce",
        help=INTRODUCTION,
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=lookonce.__version__,
    )
    verbs, others = Group("Verbs", sort_key=1), Group("Other options", sort_key=2)
    for number, (name, verb) in enumerate(VERBS.items()):
        app.command(_late(verb), name=name, help=verb.summary, group=verbs, sort_key=number)
    for flag in ("--help", "--version"):
        app[flag].group = others
    return app


def _late(verb: Verb) -> Callable[..., Any]:
    """The verb's function, imported on its first call."""

    def call(**flags: Any) -> Any:
        return verb.load()(**flags)

    call.__doc__ = verb.summary
    return call


def _console() -> Console:
    """Help uses 80 columns also on wider terminals: long lines are hard to read."""
    console = Console()
    console.width = min(console.width, HELP_WIDTH)
    return console


def _layout() -> Layout:
    console = Console()
    return Layout(width=console.width, is_terminal=console.is_terminal)


def _fail(message: str, status: int, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exc()
    rank = f"rank {os.environ['RANK']}: " if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ else ""
    print(f"lookonce: {rank}{message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
