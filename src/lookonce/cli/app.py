"""The help page of each verb."""

import inspect
from collections.abc import Callable
from typing import Any

from cyclopts import App, Parameter

from lookonce.cli.verbs import Verb
from lookonce.log import command_here, loading_torch
from lookonce.targets import imported


def app_of(name: str, verb: Verb) -> tuple[App, Callable[..., Any]]:
    """The command line of a verb, and its function with the command line's signature."""
    from lookonce.cli.signatures import command_of  # importing the settings takes 0.25 s

    loaded = late(verb) if verb.from_settings else verb.load()
    function = command_of(loaded, verb.renames, traits=verb.traits, tolerant=verb.tolerant)
    app = App(
        name=command_here(f"lookonce {name}"),
        usage=usage_of(name, function),
        help=None if function.__doc__ else verb.summary,
        help_epilogue=examples_of(verb),
        version_flags=(),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
        default_parameter=Parameter(negative_iterable=(), consume_multiple=True),
    )
    app["--help"].show = False
    app.default(function)
    return app, function


def examples_of(verb: Verb) -> str:
    return "\n".join(["Examples:", *(f"  {command_here(f'lookonce {example}')}" for example in verb.examples)])


def usage_of(name: str, function: Callable[..., Any]) -> str:
    """The usage line with each value that needs no option by its name, where the parser's own says [ARGS]."""
    from lookonce.cli.signatures import placeholder_of

    options: list[str] = []
    values: list[str] = []
    for one in inspect.signature(function).parameters.values():
        is_needed, placeholder = one.default is one.empty, placeholder_of(one.annotation.__origin__)
        if one.kind is one.KEYWORD_ONLY:
            options += [f"--{one.name} {placeholder}"] if is_needed else []
        elif one.name == "more":  # of what is before it
            values[-1] += "..."
        elif one.kind is not one.VAR_KEYWORD:
            dots = "..." if one.kind is one.VAR_POSITIONAL or placeholder.endswith("...") else ""
            values.append(f"{one.name.upper()}{dots}" if is_needed else f"[{one.name.upper()}{dots}]")
    return command_here(" ".join([f"Usage: lookonce {name}", *options, "[OPTIONS]", *values]))


def late(verb: Verb) -> Callable[..., Any]:
    """The verb's function, imported on its first call, and PyTorch with it: of `train` alone."""

    def call(**flags: Any) -> Any:
        if verb.requires:
            imported(verb.requires)(**flags)
        with loading_torch():
            function = verb.load()
        return function(**flags)

    call.__doc__ = verb.summary
    return call
