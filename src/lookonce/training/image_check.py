"""All images of a run decoded once before its first step, so that a damaged one does not end it in the night."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookonce.cores import decoding_threads
from lookonce.data.images import read_image
from lookonce.data.shards import is_in_shard
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.storage import read_regular_file

# (size in bytes, time of the last change in ns, error or "") of each file that was decoded.
Decoded = dict[str, tuple[int, int, str]]


def decode_all(
    paths: Sequence[Path], known: Mapping[str, tuple[int, int, str]], on_progress: Callable[[int], None]
) -> Decoded:
    """Decode the images; those of `known` with the same size and time are not decoded again."""

    def decoded(path: Path) -> tuple[int, int, str]:
        try:
            file = (path.parent if is_in_shard(path) else path).stat()
        except OSError:  # images of archives in object storage are read when they are needed
            return 0, 0, ""
        before = known.get(str(path))
        if before is not None and before[:2] == (file.st_size, file.st_mtime_ns):
            return before
        try:
            read_image(path)
        except DataError as error:
            return file.st_size, file.st_mtime_ns, str(error)
        return file.st_size, file.st_mtime_ns, ""

    facts: Decoded = {}
    with ThreadPoolExecutor(decoding_threads(), thread_name_prefix="image-check") as pool:
        for path, fact in zip(paths, pool.map(decoded, paths), strict=True):
            facts[str(path)] = fact
            on_progress(len(facts))
    return facts


def read_decoded(path: Path) -> Decoded:
    """What an earlier start of the run wrote; empty where there is nothing to read."""
    try:
        facts = parse_json(read_regular_file(path))["decoded"]
        return {name: (int(size), int(time), str(error)) for name, (size, time, error) in facts.items()}
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return {}


def read_val_hash(path: Path) -> str | None:
    """The hash of the validation annotations at an earlier start of the run; None where none was written."""
    try:
        return str(parse_json(read_regular_file(path))["val"])
    except (OSError, LookupError, TypeError, ValueError):
        return None
