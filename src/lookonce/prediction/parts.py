"""One of the N parts of a manifest: its rows, and its result, which is written chunk by chunk and survives any kill.

    part-00003-of-00100.jsonl      a line per image, in the order of the manifest; appears when it is complete
    part-00003-of-00100.json       its SHA-256, its numbers and what it was made with; written last
    part-00003-of-00100.chunks/    the lines of so many rows per file until then; each appears when it is complete

A chunk depends on the manifest, the weights and the options only. So two processes that work on one part by mistake
write the same bytes.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from lookonce.errors import SettingsError
from lookonce.log import get_logger
from lookonce.parsed import parse_json
from lookonce.remote.folder import Folder
from lookonce.remote.objects import RemoteError
from lookonce.shown import to_json
from lookonce.storage import StorageError

CHUNK_ROWS = 1000
MADE_WITH = "made-with.json"
_CHUNK = re.compile(r"(\d{6,})-([0-9a-f]{16})\.jsonl")  # its number and the start of its SHA-256


@dataclass(frozen=True, kw_only=True)
class Part:
    """Part `number` of `total`, from 1."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> list[Self]:
        """`3/100`, or `all/100` for each of them. SettingsError for anything else."""
        match = re.fullmatch(r"(\d{1,9}|all)/(\d{1,9})", text)
        total = int(match[2]) if match else 0
        numbers = range(1, total + 1) if match and match[1] == "all" else [int(match[1]) if match else 0]
        if not numbers or not 1 <= numbers[0] <= total:
            raise SettingsError.of("part", text, "expected K/N, such as 3/100, with K from 1 to N; or all/N")
        return [cls(number=number, total=total) for number in numbers]

    def rows(self, num_rows: int) -> range:
        """Its rows of the manifest, counted from 0."""
        return range(num_rows * (self.number - 1) // self.total, num_rows * self.number // self.total)

    @property
    def name(self) -> str:
        """Its files in the order of their names are in the order of the parts."""
        digits = max(5, len(str(self.total)))
        return f"part-{self.number:0{digits}}-of-{self.total:0{digits}}"

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


class PartResult:
    """The result of one part, as it grows. made_with: what it depends on, as JSON values."""

    def __init__(self, folder: Folder, part: Part, made_with: Mapping[str, Any]) -> None:
        self._folder, self._part, self._made_with = folder, part, dict(made_with)
        self.name, self._chunks = part.name, f"{part.name}.chunks"

    def record(self) -> dict[str, Any] | None:
        """The record of a complete result; None if it is not complete, or damaged. SettingsError if it was made with
        something else."""
        record: dict[str, Any] | None = self._json(f"{self.name}.json")
        if record is None:
            return None
        self._require_same(record["made_with"])
        if self._folder.size(f"{self.name}.jsonl") == record["bytes"]:
            return record
        get_logger().warning(f"{self._folder}/{self.name}.jsonl: not the {record['bytes']:,} bytes that it had; redone")
        self._folder.remove(f"{self.name}.json")
        return None

    def begin(self, *, resume: bool) -> set[int]:
        """Numbers of the chunks that are there. SettingsError if there are some, and not `resume`."""
        found = self._json(f"{self._chunks}/{MADE_WITH}")
        if found is None:
            self._folder.write(f"{self._chunks}/{MADE_WITH}", to_json(self._made_with))
            return set()
        self._require_same(found)
        if not resume:
            raise self.is_there()
        return set(self._names())

    def is_there(self) -> SettingsError:
        """The error for a part that was begun before."""
        problem = f"has results of part {self._part}; add --resume, or name another output"
        return SettingsError.of("output", str(self._folder), problem)

    def write(self, chunk: int, text: str) -> None:
        """The lines of one chunk, which have line ends."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._folder.write(f"{self._chunks}/{chunk:06}-{digest}.jsonl", text)

    def finish(self, rows: range, num_chunks: int) -> dict[str, Any]:
        """Join the chunks; returns the record."""
        try:
            return self._joined(rows, num_chunks)
        except (StorageError, RemoteError):
            # Another process may have worked on this part too, and have removed the chunks when it had joined them.
            record = self.record()
            if record is None:
                raise
            self.clean()
            return record

    def _joined(self, rows: range, num_chunks: int) -> dict[str, Any]:
        names = self._names()
        if len(names) < num_chunks:
            problem = f"{len(names)} of {num_chunks} chunks; run the same command again, with --resume"
            raise StorageError.at(f"{self._folder}/{self._chunks}", problem)
        digest, counts = hashlib.sha256(), Counter({"bytes": 0, "images": 0, "failed": 0, "detections": 0})

        def chunks() -> Iterator[bytes]:
            for chunk in sorted(names):
                place = f"{self._chunks}/{names[chunk]}"
                content = self._folder.read(place)
                if hashlib.sha256(content).hexdigest()[:16] != place[-22:-6]:
                    self._folder.remove(place)
                    problem = "its SHA-256 differs from that in its name, so it was removed"
                    again = "run the same command again, with --resume"
                    raise StorageError(f"{self._folder}/{place}: {problem}; {again}", path=names[chunk])
                digest.update(content)
                counts["bytes"] += len(content)
                for row in map(parse_json, content.splitlines()):
                    counts["failed" if "error" in row else "images"] += 1
                    counts["detections"] += len(row.get("detections", ()))
                yield content

        self._folder.write_pieces(f"{self.name}.jsonl", chunks())
        shown = {"part": str(self._part), "rows": [rows.start + 1, rows.stop]}
        record = {**shown, "sha256": digest.hexdigest(), **counts, "made_with": self._made_with}
        self._folder.write(f"{self.name}.json", to_json(record, indent=1) + "\n")
        self.clean()
        return record

    def clean(self) -> None:
        """Remove the chunks of a complete result, and what killed writers have left."""
        self._folder.remove(self._chunks)
        self._folder.remove_leftovers(f"{self.name}.json")
        self._folder.remove_leftovers(f"{self.name}.jsonl")

    def _names(self) -> dict[int, str]:
        matches = [match for name in self._folder.names(self._chunks) if (match := _CHUNK.fullmatch(name))]
        return {int(match[1]): match[0] for match in matches}

    def _json(self, name: str) -> Any:
        return None if self._folder.size(name) is None else parse_json(self._folder.read(name))

    def _require_same(self, found: Mapping[str, Any]) -> None:
        for name, value in self._made_with.items():
            if found.get(name) != value:
                made = f"with which part {self._part} in {self._folder} was made"
                raise SettingsError.of(name, value, f"expected {found.get(name)}, {made}; name another output")
