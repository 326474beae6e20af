"""What lookonce raises when the cause lies with the input rather than with lookonce."""

from pathlib import Path
from typing import Any

# In the words of torch, which loads torch-npu with itself, so that without CANN `import torch` fails; and in ours.
NO_TORCH_NPU = "backend extension: torch_npu"
NO_CANN = (
    "torch-npu is installed, but Ascend's CANN does not load. Install it, or read its variables into this shell: "
    "source /usr/local/Ascend/ascend-toolkit/set_env.sh. To work on the CPU: export TORCH_DEVICE_BACKEND_AUTOLOAD=0"
)


class LookonceError(ValueError):
    """Bad input: the message names the file or setting, the value seen, the value expected and the next step.

    The command line prints the message without a traceback and exits with status 1. What a program would read of it,
    where whoever raises it knows, as it was given: `setting`, the option's name; `path`, the file, folder or address;
    `line` of that file, from 1; `value`, what was seen; `check`, the data check that found it (data/checks.py).
    """

    def __init__(
        self,
        message: str,
        *,
        setting: str | None = None,
        path: str | Path | None = None,
        line: int | None = None,
        value: Any = None,
        check: str | None = None,
    ) -> None:
        super().__init__(message)
        self.setting = setting
        self.path = path
        self.line = line
        self.value = value
        self.check = check

    @property
    def fields(self) -> dict[str, Any]:
        """All but the message, for the same error in other words: `SettingsError(words, **error.fields)`."""
        return {name: getattr(self, name) for name in ("setting", "path", "line", "value", "check")}


class DataError(LookonceError):
    """Something in the pictures or annotations that cannot be used as it is."""


class SettingsError(LookonceError):
    """A setting that is unknown, of the wrong kind or out of range. The command line exits with status 2."""


class WeightsError(LookonceError):
    """A weights file or folder that is missing, damaged or of another network."""


class MissingExtra(LookonceError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs: pip install "lookonce[{extra}]"')
        self.extra = extra
