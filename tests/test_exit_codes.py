"""The exit codes of both programs are one table."""

import re
from pathlib import Path

from lookonce.exit_codes import OF_CPP, ExitCode

HEADER = Path(__file__).parents[1] / "cpp" / "program" / "exit_codes.h"


def test_the_cpp_program_has_the_same_values():
    found = re.findall(r"constexpr int k(\w+) = (\d+);", HEADER.read_text(encoding="utf-8"))
    ours = {code.name.title().replace("_", ""): code for code in OF_CPP}
    assert {name: int(value) for name, value in found} == ours


def test_every_code_has_a_meaning_and_is_an_exit_status():
    assert all(0 <= code < 256 and code.meaning for code in ExitCode)
    assert int(ExitCode.STOPPED) == 75
