"""Text files with one name a line: class names and image lists."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lookonce.errors import DataError
from lookonce.storage import read_text_file

# In the order in which they are looked for.
NAMES_FILES = ("labels.txt", "classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")


def read_list(path: Path) -> list[str]:
    """The non-empty lines of a text file, stripped."""
    try:
        text = read_text_file(path)
    except (OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as UTF-8 text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def write_names(folder: Path, class_names: Sequence[str]) -> None:
    """The list of classes that readers prefer."""
    (folder / NAMES_FILES[0]).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")


def checked_names(names: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names as a tuple. DataError if there are none, or one occurs twice."""
    if not names:
        raise DataError.at(path, "has no class names; expected one a line")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError.at(
            path, f"class {twice!r} occurs twice; expected every name once", setting="names", value=twice
        )
    return tuple(names)


def is_names_file(file: str) -> bool:
    """Whether a relative path has the name of a file of class names."""
    name = file.rpartition("/")[2].lower()
    return name in NAMES_FILES or name.endswith(".names")
