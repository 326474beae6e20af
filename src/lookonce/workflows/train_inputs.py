"""What `lookonce train` needs to exist is looked for first, without PyTorch, which takes seconds to import."""

from typing import Any

from lookonce.data.source import require_data_source
from lookonce.errors import SettingsError
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings
from lookonce.weights.pull import require_weights


def require_inputs(**flags: Any) -> None:
    """The error that `train` would raise later for a setting, or for data or weights that are not there."""
    if is_resumed(flags.get("resume")):
        return  # it has its own settings
    settings = resolve(flags).settings
    if settings.run and (settings.runs / settings.run).exists():
        return
    require_data(settings)
    for weights in (settings.weights, settings.backbone_weights):
        if weights is not None:
            require_weights(weights)
    require_data_source(settings.data)  # last: it reads the folder's listing


def is_resumed(resume: Any) -> bool:
    """Whether the value of the option `resume` asks for a run: true, or its folder."""
    return str(resume or "").lower() not in ("", "false", "0", "no")


def require_data(settings: Settings) -> None:
    if not settings.data:
        problem = "not given; expected a folder of labelled images, e.g. lookonce train --data DIR"
        raise SettingsError(f"data: {problem}", setting="data")
