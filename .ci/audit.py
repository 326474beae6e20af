"""Known vulnerabilities of what `uv.lock` and `package-lock.json` pin: `python .ci/audit.py`; exit status 1 if any.

uv asks OSV, npm its registry. One that cannot be reached is a warning: the checks must also pass without a network.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 120


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        npm = ["npm", "audit", "--json", "--package-lock-only", "--fetch-retries=0", f"--cache={scratch}"]
        verdicts = {
            "uv.lock": of_uv(*run(["./run", "uv", "audit", "--locked"], PROJECT_ROOT)),
            "package-lock.json": of_npm(*run(npm, PROJECT_ROOT / "src" / "lookonce" / "web")),
        }
    for name, (is_sound, text) in verdicts.items():
        word = {True: "sound", False: "REFUSED", None: "WARNING: not audited"}[is_sound]
        print(f"{name}: {word}\n{text.strip()}")
    return int(any(is_sound is False for is_sound, _ in verdicts.values()))


def run(command: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """(exit status, stdout, stderr); status -1 if the program is missing or does not end in time."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def of_uv(status: int, out: str, err: str) -> tuple[bool | None, str]:
    """(whether nothing is known, None if the service did not answer; what to print). uv ends with 1 for a finding."""
    return {0: True, 1: False}.get(status), out or err


def of_npm(status: int, out: str, err: str) -> tuple[bool | None, str]:
    """The same of `npm audit --json`, which ends with 1 also where the registry cannot be reached."""
    try:
        total = int(json.loads(out)["metadata"]["vulnerabilities"]["total"])
    except (ValueError, KeyError, TypeError):
        return None, err
    return (total == 0 and status == 0), out if total else ""


if __name__ == "__main__":
    sys.exit(main())
