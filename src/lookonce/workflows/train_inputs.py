"""What `lookonce train` needs to exist is looked for first, without PyTorch, which takes seconds to import."""

from pathlib import Path
from typing import Any

from lookonce.data.source import require_data_source
from lookonce.errors import SettingsError
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings
from lookonce.training.run_folder import open_run_folder
from lookonce.weights.pull import require_weights


def require_inputs(**flags: Any) -> None:
    """The error that `train` would raise later for a setting, or for data, weights or a run that are not there."""
    resume = flags.get("resume", "")
    if is_resumed(resume):  # the run has its own settings
        if not (is_newest(resume) or flags.get("run")):  # which `train` explains
            open_run_folder(Path(resume))
        return
    settings = resolve(flags).settings
    if settings.run and (settings.runs / settings.run).exists():
        return
    require_data(settings)
    for weights in (settings.weights, settings.backbone_weights):
        if weights is not None:
            require_weights(weights)


def is_resumed(resume: Any) -> bool:
    """Whether the value of the option `resume` asks for a run: true, or its folder."""
    return str(resume or "").lower() not in ("", "false", "0", "no")


def is_newest(resume: Any) -> bool:
    """Whether the value of the option `resume` names no folder: the newest run is meant."""
    return str(resume).lower() in ("true", "1", "yes")


def require_data(settings: Settings) -> None:
    if not settings.data:
        problem = "not given; expected a folder of labelled images, e.g. lookonce train --data DIR"
        raise SettingsError(f"data: {problem}", setting="data")
    require_data_source(settings.data)
