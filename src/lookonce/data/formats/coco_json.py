"""A COCO file -> its lists, with the annotations handed over in parts, so that few of them are in memory at once.

A file of 860,000 annotations (train2017: 450 MB, two thirds of it polygons) is 1.2 GB of Python objects.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.storage import require_regular_file, stand_in

Result = TypeVar("Result")

_BLOCK_BYTES = 1 << 24
# Of annotations; 20 MB of Python objects.
_PART_CHARACTERS = 1 << 21
_PART_ITEMS = 1 << 14
_SEGMENTATION = b'"segmentation"'
_SPACES = r"[ \t\n\r]*"
_COLON = re.compile(f"{_SPACES}:{_SPACES}")
_NEXT_MEMBER = re.compile(f"{_SPACES}([,}}]){_SPACES}")
_NEXT_ITEM = re.compile(f"{_SPACES}([,\\]]){_SPACES}")
_BETWEEN_OBJECTS = re.compile(f"}}{_SPACES},{_SPACES}(?={{)")
_FIRST_ITEM = re.compile(f"\\[{_SPACES}(?=[^\\]\\s])")
_FIRST_MEMBER = re.compile(f"{_SPACES}{{{_SPACES}")


def load_coco_json(path: Path, take: Callable[[list[Any]], Result]) -> tuple[dict[str, list[Any]], list[Result]]:
    """The lists images and categories of an annotation file, and take(part) for each part of its annotations, in order.

    Polygons are removed, unless an annotation has no box. DataError if the file is not COCO JSON.
    """
    try:
        content = _load(path, take)
    except OSError as error:
        raise DataError.at(path, f"cannot be read: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise DataError.at(
            path, f"is a JSON {type(content).__name__}; expected a COCO object with images, annotations, categories"
        )
    for key in ("images", "annotations", "categories"):
        if key not in content:
            keys = ", ".join(map(repr, list(content)[:8])) or "nothing"
            raise DataError.at(
                path,
                f"has no {key!r}; expected COCO's images, annotations, categories; found {keys}; other formats: "
                "docs/data.md",
                value=key,
            )
        if not isinstance(content[key], list):
            raise DataError.at(path, f"{key!r} is {show(content[key])}; expected a list", value=key)
    return content, content.pop("annotations")


def show(value: object) -> str:
    """A JSON value in at most 60 characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def _load(path: Path, take: Callable[[list[Any]], Result]) -> Any:
    """The parsed file; a list of annotations is replaced by the results of `take`."""
    for polygons in (False, True):
        try:
            content = _read(path, polygons=polygons)
            text = content.decode(json.detect_encoding(content), "surrogatepass")
            return _parse(text, take, needs_boxes=not polygons)
        except (ValueError, RecursionError) as error:  # the unmodified file gives the correct line number
            if isinstance(error, DataError):
                raise
    try:
        content = parse_json(_read(path, polygons=True))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} line {error.lineno} column {error.colno}: invalid JSON ({error.msg}); expected COCO annotations",
            path=path,
            line=error.lineno,
        ) from error
    except ValueError as error:  # not UTF-8; a number of thousands of digits; thousands of brackets
        if isinstance(error, DataError):
            raise
        raise DataError.at(path, f"invalid JSON ({error}); expected COCO annotations in UTF-8") from error
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        content["annotations"] = [take(content["annotations"])]
    return content


def _read(path: Path, *, polygons: bool) -> bytes | bytearray:
    """The file, without its polygons unless asked for; these are removed in blocks, before they need memory."""
    require_regular_file(path)
    content, rest = bytearray(), b""
    with path.open("rb") as file:
        if words := stand_in(file.read(256)):
            raise DataError.at(path, words)
        file.seek(0)
        if polygons:
            return file.read()
        while block := file.read(_BLOCK_BYTES):
            block = rest + block
            end = block.rfind(b"}") + 1  # not inside a polygon or its key
            content += _without_polygons(block[:end])
            rest = block[end:]
    return content + rest


def _without_polygons(text: bytes) -> bytes:
    """The same JSON without `"segmentation": [[...]],`; polygons in any other notation are kept.

    A quote inside a JSON string is escaped, so that the searched bytes can only be a key.
    """
    first, *others = text.split(_SEGMENTATION)  # half the time of a regular expression
    kept = [first]
    for piece in others:
        is_polygon = piece[:4].replace(b" ", b"").startswith(b":[[") and not kept[-1].endswith(b"\\")
        end = piece.find(b"]]") if is_polygon else -1
        kept += [piece[end + 3 :]] if end >= 0 and piece[end + 2 : end + 3] == b"," else [_SEGMENTATION, piece]
    return b"".join(kept)


def _parse(text: str, take: Callable[[list[Any]], Result], *, needs_boxes: bool) -> dict[str, Any]:
    """A JSON object. ValueError if it is none, or if an annotation has no box and needs_boxes is set."""
    decode = json.JSONDecoder().raw_decode
    content: dict[str, Any] = {}
    at, end = _after(_FIRST_MEMBER, text, 0)[0], ","
    while end == ",":
        key, at = decode(text, at)
        at, _ = _after(_COLON, text, at)
        if key == "annotations" and _FIRST_ITEM.match(text, at):
            content[key] = []
            for items, end_of_part in _parts(text, at):
                if needs_boxes and not all(isinstance(item, dict) and item.get("bbox") for item in items):
                    raise ValueError("an annotation needs its polygon")
                content[key].append(take(items))
                at = end_of_part
        elif isinstance(key, str):
            content[key], at = decode(text, at)
        else:
            raise ValueError("a key is no text")
        at, end = _after(_NEXT_MEMBER, text, at)
    if at < len(text):
        raise ValueError("there is text after the object")
    return content


def _parts(text: str, at: int) -> Iterator[tuple[list[Any], int]]:
    """The items of the list that begins at `at`, in parts, and where each part ends."""
    at, _ = _after(_FIRST_ITEM, text, at)
    # A text that is cut between two objects parses as a list only if both are items of this list.
    while cut := _BETWEEN_OBJECTS.search(text, at + _PART_CHARACTERS):
        try:
            items = json.loads(f"[{text[at : cut.start() + 1]}]")
        except ValueError:
            break
        at = cut.end()
        yield items, at
    decode, items, end = json.JSONDecoder().raw_decode, [], ","
    while end == ",":
        item, at = decode(text, at)
        items.append(item)
        at, end = _after(_NEXT_ITEM, text, at)
        if end == "]" or len(items) == _PART_ITEMS:
            yield items, at
            items = []


def _after(pattern: re.Pattern[str], text: str, at: int) -> tuple[int, str]:
    """Where a match at `at` ends, and its group if it has one. ValueError without a match."""
    match = pattern.match(text, at)
    if match is None:
        raise ValueError(f"unexpected text at {at}")
    return match.end(), match[match.re.groups]
