"""`lookonce VERB ...`: parses the options, runs the verb's function, and reports errors as messages and exit codes."""

import errno
import io
import os
import sys
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from itertools import pairwise
from pathlib import Path
from threading import Timer
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

import lookonce
from lookonce.cli.as_json import as_json
from lookonce.cli.overview import MODES, WIDEST, overview
from lookonce.cli.verbs import EXTRAS, VERBS, Verb
from lookonce.collector import collecting_later, leave_without_collecting
from lookonce.cores import let_waiting_threads_sleep
from lookonce.errors import (
    NO_CANN,
    NO_TORCH_NPU,
    LookonceError,
    MissingExtra,
    SettingsError,
    is_out_of_memory,
    out_of_memory,
    shortened,
)
from lookonce.exit_codes import ExitCode
from lookonce.layout import PLAIN, Layout, Styled
from lookonce.log import command_here, get_logger, has_logged, is_on, logging_to, quiet
from lookonce.settings.names import suggested_value, suggestion
from lookonce.shown import shown_lines, without_secrets
from lookonce.targets import imported

if TYPE_CHECKING:  # cyclopts and Rich take 0.2 s, which `lookonce --help` does not need
    from cyclopts import CycloptsError
    from rich.console import Console

COMPLETIONS = ("--install-completion", "--show-completion")
FLAGS = ("--help", "--version", *MODES, *COMPLETIONS)
SECONDS_OF_SILENCE = 0.7
SECONDS_OF_CHECKS = 0.3  # in which a verb finds what is wrong with its options, so that such an error comes alone


def main(tokens: Sequence[str] | None = None, *, from_document: bool = False) -> int:
    """Run one command line (default: sys.argv[1:]) and return its exit status.

    from_document: it was typed in the model zoo's form, so that errors name options in this form too.
    """
    tokens = list(sys.argv[1:] if tokens is None else tokens)
    for stream in (sys.stdout, sys.stderr):
        escape_what_it_cannot_show(stream)
    let_waiting_threads_sleep()
    tokens, modes = modes_of(tokens)
    show_traceback = is_on("LOOKONCE_TRACEBACK") or "traceback" in modes
    try:
        with quiet() if "quiet" in modes else nullcontext(), logging_to():
            return run(tokens, json="json" in modes)
    except KeyboardInterrupt:
        return _fail("interrupted", ExitCode.INTERRUPTED, show_traceback)
    except SettingsError as error:
        return _fail(str(_as_typed(error, tokens, from_document=from_document)), ExitCode.WRONG_USE, show_traceback)
    except LookonceError as error:
        return _fail(str(error), ExitCode.FAILED, show_traceback)
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; Python would report it again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        return _fail(_of_system(error, tokens), ExitCode.FAILED, show_traceback)
    except Exception as error:  # noqa: BLE001 (the last resort)
        if is_out_of_memory(error):
            return _fail(out_of_memory("".join(tokens[:1])), ExitCode.FAILED, show_traceback)
        return _fail(_unforeseen(error, show_traceback), ExitCode.UNFORESEEN, show_traceback)


def escape_what_it_cannot_show(stream: Any) -> None:
    """Write `\\xfc`, `\\u732b`, `\\udcff` for a character that the encoding of a stream lacks (Latin-1, ASCII),
    and for a byte of a file name that is not UTF-8, where a strict stream would end the verb."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def modes_of(tokens: Sequence[str]) -> tuple[list[str], set[str]]:
    """The other words, and which of --quiet, --json and --traceback were typed.

    `--json FILE` is an option of some verbs: there the word alone is meant, at the end or before another option.
    """
    takes_file = bool(tokens) and tokens[0] in VERBS and "json" in VERBS[tokens[0]].renames.values()
    end = tokens.index("--") if "--" in tokens else len(tokens)
    typed = {
        at
        for at, (token, following) in enumerate(pairwise([*tokens[:end], "--"]))
        if token in MODES and not (token == "--json" and takes_file and not following.startswith("--"))
    }
    rest = [token for at, token in enumerate(tokens) if at not in typed]
    return rest, {tokens[at].removeprefix("--") for at in typed}


def run(tokens: Sequence[str], *, json: bool = False) -> int:
    """Like `main`, but errors are raised."""
    if tokens[:1] == ["help"] and tokens[1:2] and tokens[1] in VERBS:
        tokens = [tokens[1], "--help"]
    if not tokens or tokens[0] in {"--help", "-h", "help"}:
        print(overview())
        return 0
    if tokens[0] == "version" or "--version" in tokens:
        print(as_json({"version": lookonce.__version__}) if json else lookonce.__version__)
        return 0
    if tokens[0] in COMPLETIONS:
        from lookonce.cli.completion import completion

        print(completion("".join(tokens[1:2]), install=tokens[0] == "--install-completion"))
        return 0
    name, *rest = tokens
    if name not in VERBS:
        hint = suggestion(name, (*VERBS, *FLAGS))
        is_option = name.startswith("-") and not hint
        problem = f"{name!r}: expected a verb before it" if is_option else f"unknown verb {name!r}"
        raise SettingsError(f"{problem}{hint or '; `lookonce --help` lists all verbs'}", value=name)
    if (switch := VERBS[name].is_job_when) and is_switched_on(switch, rest):
        name, rest = "job", [f"task={name}", *rest]
    return run_verb(name, VERBS[name], rest, json=json)


def names_in(tokens: Sequence[str]) -> set[str]:
    """The names of the typed options, with `_`, and the values that look like one."""
    return {token.removeprefix("--").partition("=")[0].replace("-", "_") for token in tokens}


def _as_typed(error: SettingsError, tokens: Sequence[str], *, from_document: bool) -> SettingsError:
    from lookonce.settings.aliases import BY_OLD_NAME, as_named
    from lookonce.settings.schema import Settings

    typed = names_in(tokens[1:])
    is_of_document = from_document or bool(typed & (BY_OLD_NAME.keys() - Settings.model_fields.keys()))
    return as_named(error, typed, tokens[0] if tokens else "", from_document=is_of_document)


def is_switched_on(switch: str, tokens: Sequence[str]) -> bool:
    """Whether a switch is on: `--switch`, `--switch=True`, `--switch True` or `switch=True`, or in the --file."""
    value = _value_of(switch, tokens)
    file = _value_of("file", tokens) or _value_of("config_path", tokens)
    if value is None and file and Path(file).is_file():
        from lookonce.settings.yaml_file import read_entries

        value = next((str(entry.value) for entry in read_entries(Path(file)) if entry.name == switch), None)
    return (value or "").lower() in {"true", "1", "yes", "on"}


def _value_of(option: str, tokens: Sequence[str]) -> str | None:
    """The typed value of an option, "true" if it has none; None if the option was not typed."""
    for token, following in pairwise([*tokens, "--"]):
        name, _, value = token.removeprefix("--").partition("=")
        if name.replace("-", "_") == option:
            return value or ("true" if following.startswith("--") or "=" in following else following)
    return None


def run_verb(name: str, verb: Verb, tokens: Sequence[str], *, json: bool = False) -> int:
    """Call the verb's function with the typed options and return the exit status, from `exit_code` or `num_errors` of
    its result. json: print the result as JSON, and whatever is printed meanwhile to stderr."""
    with collecting_later():
        from cyclopts import CycloptsError

        from lookonce.cli.app import app_of
        from lookonce.cli.options import options_of  # importing the settings takes 0.25 s

    leave_without_collecting()
    started = time.monotonic()
    try:
        with redirect_stdout(sys.stderr if json else sys.stdout):
            app, function = app_of(name, verb)
            options = options_of(function, name)
            normalised = options.normalised(_typed(token) for token in tokens)
            console = None if {"--help", "-h"}.isdisjoint(tokens) else _console()
            try:
                call, given, _ = app.parse_args(normalised, console=console, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                told = error.__cause__  # of a converter of ours
                if not isinstance(told, SettingsError):
                    told = _in_our_words(
                        error, name, options.positional & names_in(normalised), options.names - options.positional
                    )
                options.name_as_typed(told, names_in(tokens))
                raise told from None
            if verb.requires and not console:
                imported(verb.requires)  # takes longer than its checks
            try:
                with nullcontext() if console else line_if_slow(name, started):
                    result = call(*given.args, **given.kwargs)
            except SettingsError as error:
                options.name_as_typed(error, names_in(tokens))
                raise
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(f"lookonce {name}", extra) from error
    except RuntimeError as error:
        if NO_TORCH_NPU not in str(error):
            raise
        raise LookonceError(NO_CANN) from error
    if result is not None:  # None: after --help
        _show(verb, result, json)
    return int(getattr(result, "exit_code", 0)) or int(getattr(result, "num_errors", 0) > 0)


def _in_our_words(error: "CycloptsError", verb: str, named: Collection[str], others: Collection[str]) -> SettingsError:
    """The parser's error as one that names the option, the value and what was expected.

    named: the options that may be given without a name, and were given with one; others: those that may not.
    """
    from cyclopts import (
        ArgumentOrderError,
        CoercionError,
        MissingArgumentError,
        RepeatArgumentError,
        UnusedCliTokensError,
    )

    takes_more = isinstance(error, ArgumentOrderError)  # `--source a.jpg b.jpg`
    if isinstance(error, ArgumentOrderError):
        error = UnusedCliTokensError(unused_tokens=[error.token])
    repeated = error.token if isinstance(error, RepeatArgumentError) else None
    option = error.argument.name if error.argument else repeated and repeated.keyword
    setting = option.removeprefix("--").replace("-", "_") if option else None
    value, words = None, str(error)
    if isinstance(error, MissingArgumentError):
        words = f"{setting}: {'not given' if error.keyword is None else 'typed without a value'}"
        if error.keyword is None and VERBS[verb].examples:
            words = f"{words}; for example: `lookonce {VERBS[verb].examples[0]}`"
        choices = _choices(setting, error.argument.hint) if error.argument else ["text"]
        if error.keyword is not None and "text" not in choices:
            words = f"{words}; expected {' or '.join(choices)}"
    elif isinstance(error, CoercionError) and error.token is not None and error.target_type is not None:
        value, choices = error.token.value, _choices(setting, error.target_type)
        expected = " or ".join(choices)
        words = f"{setting}: {value}; expected {expected}{suggested_value(value, choices)}"
    elif repeated is not None:
        value, words = repeated.value, f"{setting}: {repeated.value}; given twice; expected one value"
    elif isinstance(error, UnusedCliTokensError) and error.unused_tokens and named:
        setting, value = next(iter(named)), error.unused_tokens[0]
        words = f"{setting}: {value!r}; given twice, also as --{setting}; expected "
        words += f"one value, or several without --{setting}" if takes_more else "one value"
    elif isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        value = error.unused_tokens[0]
        words = f"{value!r}: a value too many; quote a pattern ('*.jpg'), and type --NAME before the value of an option"
        if of_paths := [f"--{one}" for one in ("weights", "data") if one in others]:
            words = f"{words}, such as {' or '.join(of_paths)}"
    return SettingsError(f"{words}; `lookonce {verb} --help` lists the options", setting=setting, value=value)


def _choices(name: str | None, kind: Any) -> list[str]:
    """The values that an option of this type takes, in words."""
    from lookonce.settings.text import KINDS_IN_WORDS, kinds_in_words

    kinds = [one for one in get_args(kind) or (kind,) if one not in (NoneType, Ellipsis)]
    return [*(str(one) for one in kinds if one not in KINDS_IN_WORDS), *kinds_in_words(name or "", kinds)]


def _show(verb: Verb, result: Any, json: bool) -> None:
    """Print a result; only the main rank does."""
    if not json:
        layout = PLAIN
        if verb.takes_layout:
            from rich.console import Console

            console = Console()
            layout = Layout(width=console.width, is_terminal=console.is_terminal)
        for line in verb.lines(result, layout):
            text = line if verb.is_file else command_here(line)
            print(text if isinstance(line, Styled) else shown_lines(text))
    elif getattr(result, "is_main", True):
        print(without_secrets(as_json(result)))


@contextmanager
def line_if_slow(name: str, started: float) -> Iterator[None]:
    """Inside the block, log one line if nothing has been logged a moment after `started`, so that no verb seems to
    hang."""

    def say() -> None:
        if not has_logged():
            get_logger().info(f"{name}: starting")

    timer = Timer(max(SECONDS_OF_CHECKS, started + SECONDS_OF_SILENCE - time.monotonic()), say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _typed(token: str) -> str:
    """`./coco`, also as `--weights=./coco`, as a path that stays one: see `as_typed`."""
    from lookonce.weights.pull import as_typed

    option, equals, value = token.rpartition("=")
    return f"{option}{equals}{as_typed(value)}"


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    console.width = min(console.width, WIDEST)
    return console


def _of_system(error: OSError, tokens: Sequence[str]) -> str:
    """What the system refused, such as a name of over 255 bytes, a device's error or a full disk."""
    if is_out_of_memory(error):
        return out_of_memory("".join(tokens[:1]))
    named = "" if error.filename is None else os.fsdecode(error.filename)
    pairs = [(one, value) for one, value in pairwise(tokens) if one.startswith("--")]
    pairs += [(one, value) for one, equals, value in (token.partition("=") for token in tokens) if equals]
    option = next((one for one, value in pairs if named in (value, f"./{value}")), "")
    setting = f"{option.removeprefix('--').replace('-', '_')}: " if option else ""
    name = f"{setting}{shortened(named)}: " if named else ""
    if error.errno == errno.ENAMETOOLONG:
        return f"{name}{error.strerror}; expected a path whose names have up to 255 bytes each; check the value"
    return f"{name}{error.strerror or error}; expected a file or folder that can be used; check the path and its disk"


def _unforeseen(error: Exception, show_traceback: bool) -> str:
    words = shortened(" ".join(str(error).split()))
    again = "" if show_traceback else "; add --traceback to the command to see where it happened"
    return (
        f"unforeseen error: {type(error).__name__}: {words}{again}; if the settings and files are as they should be, "
        "please report it to the maintainers of lookonce, with the command, the traceback and the output of "
        "`lookonce doctor`"
    )


def _fail(message: str, status: int, show_traceback: bool) -> int:
    if show_traceback:
        print(without_secrets(traceback.format_exc()), end="", file=sys.stderr)
    rank = f"rank {os.environ['RANK']}: " if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ else ""
    print(f"lookonce: {rank}{shown_lines(command_here(message))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
