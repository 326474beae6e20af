"""Names, texts and figures as they are shown: secrets as ***, and nothing that acts on a terminal, line or sheet."""

import csv
import io
import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

# Control characters (C0, DEL, C1: escape sequences begin with ESC or CSI), separators of lines and of direction, and
# halves of surrogate pairs, which stand for the bytes of a file name that is not UTF-8.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ACTING_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HALVES = re.compile("[\ud800-\udfff]")
# Of a URL the password, whose @ may stand there as it is, and what stands for one in its query; in an address of object
# storage also a secret key, which may hold slashes.
_PASSWORDS = re.compile(
    r"([a-z][a-z0-9+.-]*:/{1,2}[^\s/@:]*):[^\s/]*@|((?:s3|obs):/{1,2}[^\s/@:]*):\S*@",  # a path has one slash left
    re.IGNORECASE,
)
_SIGNATURES = re.compile(r"([?&][\w.-]*(?:signature|token|credential|password|secret|key)=)[^&\s'\"]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|(^|_)KEY(_ID)?$|APIKEY", re.IGNORECASE)
_SHORTEST_SECRET = 8  # a shorter value of a variable could be a word of the text
UNDEFINED = -1.0  # a metric of COCO without objects or detections
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown(text: str) -> str:
    """A name on one line: `a\\nb`, `\\x1b[31m`, `\\udcff`."""
    return _ACTING.sub(_escaped, text)


def shown_lines(text: str) -> str:
    """The same for a message of several lines: its tabs and ends of lines stay; secrets do not."""
    return _ACTING_IN_LINES.sub(_escaped, without_secrets(text))


def without_secrets(text: str) -> str:
    """The text with *** for passwords in URLs, and for values of environment variables whose names tell of a secret."""
    text = _PASSWORDS.sub(lambda found: f"{found[1] or found[2]}:***@", text)
    text = _SIGNATURES.sub(r"\1***", text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return text


def command(*words: object) -> str:
    """`lookonce VERB ...`, quoted so that a shell takes it as it stands."""
    return shlex.join(["lookonce", *map(str, words)])


def to_json(value: Any, **options: Any) -> str:
    """JSON in UTF-8, readable, with `\\udcff` for a byte of a name that is not UTF-8: `json.loads` gives it back."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def utf8(values: Any) -> Any:
    """JSON values with the text `\\udcff` for a byte of a name that is not UTF-8, for files that others read."""
    text = json.dumps(values, ensure_ascii=False)
    return json.loads(_HALVES.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text))


def percent(share: float) -> str:
    """0..1 -> 0 %, <0.1 %, 0.3 %, 12 %, 99.3 %, >99.9 %, 100 %: only none is 0 %, and only all are 100 %."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    rounded = round(100 * share, 0 if 0.1 <= share <= 0.9 else 1)
    return f"{rounded:g} %"


def three_digits(value: float) -> str:
    """A score 0..1 with three digits; a dash if UNDEFINED."""
    return "-" if value == UNDEFINED else f"{value:.3f}"


def file_size(num_bytes: int) -> str:
    """ "34 kB", "2.2 MB": a small file is not 0.0 MB."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{math.ceil(num_bytes / 1e3)} kB"


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would take for a formula begins with `'`; numbers stay."""
    if not isinstance(value, str):
        return value
    text = f"'{value}" if value.startswith(_FORMULA) else value
    return shown(text)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV file: a line with the names of the columns, in the order in which they appear, and a line per row. A value
    that is missing is an empty cell."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    write_csv(text, [columns, *([row.get(name) for name in columns] for row in rows)])
    return text.getvalue()


def write_csv(file: TextIO, rows: Iterable[Iterable[Any]]) -> None:
    """Add rows to a CSV file, each cell by `csv_cell`."""
    writer = csv.writer(file, lineterminator="\n")  # noqa: TID251 (the only one)
    writer.writerows(map(csv_cell, row) for row in rows)


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode("ascii")
