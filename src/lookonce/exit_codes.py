"""Exit codes of `lookonce` and of the C++ program `lookonce-infer`: 0 also without detections, 1 for wrong data.

docs/exit-codes.md is made from them.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """meaning: for users. Codes from 64 to 78 are those of sysexits.h; 130 is 128 + SIGINT, as in shells."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        self = int.__new__(cls, code)
        self._value_ = code
        self.meaning = meaning
        return self

    SUCCEEDED = 0, "done, also where nothing was detected"
    FAILED = (
        1,
        "invalid input (file, weights, data), an unreadable image among others, or a finding of `check`, `doctor` ...",
    )
    WRONG_USE = 2, "invalid verb, option or setting"
    UNFORESEEN = 70, "an error in lookonce itself, which it did not foresee; please report it"
    NOT_SYNCED = (
        74,
        "finished, but `NOT-SYNCED.txt` in the run folder lists results to upload; the same command uploads them",
    )
    STOPPED = 75, "stopped on request (Ctrl-C, SIGTERM or SIGHUP during training); the same command resumes"
    INTERRUPTED = 130, "Ctrl-C"


OF_CPP = (ExitCode.SUCCEEDED, ExitCode.FAILED, ExitCode.WRONG_USE)  # cpp/program/exit_codes.h has the same values
