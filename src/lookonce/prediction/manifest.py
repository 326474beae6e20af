"""Manifests of `predict`: lists, Parquet, S3 Inventory or shards that name images; rows are read as they are needed.

    .txt                               a path, URL or s3:// address per line, relative to the folder of the file
    .parquet                           a column of such (extra `parquet`)
    manifest.json of S3 Inventory      the keys of its CSV (.csv, .csv.gz) or Parquet files that end like images
    shards.json                        the images of a folder of shards (data/shards.py); this index is read whole

Rows are numbered from 1. The number of a row does not depend on which other rows are read.
"""

import csv
import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote_plus

from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.local_data import local_data
from lookonce.data.shards import INDEX, open_shards
from lookonce.errors import DataError, needing_extra
from lookonce.parsed import parse_json
from lookonce.remote.local_copy import local_file
from lookonce.remote.objects import is_remote
from lookonce.storage import read_regular_file, require_regular_file

INVENTORY = "manifest.json"
LIST_SUFFIX, PARQUET_SUFFIX = ".txt", ".parquet"
EXPECTED = f"expected a list (.txt), .parquet, {INDEX} of shards, or {INVENTORY} of an S3 Inventory"
# Names of the column of paths in a Parquet file with several columns of text; the first that it has is read.
COLUMNS = ("path", "url", "uri", "key", "file", "file_name", "filename", "image")
BATCH_ROWS = 10_000
Row = tuple[int, str]
Values = tuple[int, Mapping[str, Any]]


class Manifest(ABC):
    """path: the file, on this machine. base: folder or address of the file, to which its rows are relative."""

    is_of_shards = False

    def __init__(self, path: Path, base: str) -> None:
        self.path, self.base = path, base

    @cached_property
    @abstractmethod
    def num_rows(self) -> int:
        """Number of rows, counted once."""

    @abstractmethod
    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """(number, place) of the rows start + 1 to stop. place: a path, URL or address; or relative to `base`."""


def is_manifest(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in {LIST_SUFFIX, PARQUET_SUFFIX} or path.name in {INDEX, INVENTORY}


def open_manifest(source: str) -> Manifest:
    """The manifest at a path or an address, from where it is downloaded. DataError if it is none, or has no rows."""
    if not is_manifest(source) or not (is_remote(source) or Path(source).is_file()):
        raise DataError.at(source, f"is not a manifest; {EXPECTED}")
    base = source.rpartition("/")[0] if is_remote(source) else str(Path(source).parent)
    kind = KINDS.get(PurePosixPath(source).suffix.lower(), _Inventory)
    if PurePosixPath(source).name == INDEX:
        manifest: Manifest = _ShardIndex(local_data(base) / INDEX, base)
    else:
        manifest = kind(local_file(source), base)
    if not manifest.num_rows:
        raise DataError.at(source, "is empty; expected the path of an image per row")
    return manifest


class _List(Manifest):
    @cached_property
    def num_rows(self) -> int:
        return _num_lines(self.path)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        with _opened(self.path) as file:
            for number, line in enumerate(islice(_lines(file), start, stop), start + 1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    problem = f"not UTF-8 text ({error}); expected one image path per line"
                    raise DataError.at(self.path, problem) from error


class _Parquet(Manifest):
    def __init__(self, path: Path, base: str) -> None:
        super().__init__(path, base)
        with needing_extra(f"{path}: Parquet", "parquet"):
            from pyarrow import types
            from pyarrow.parquet import ParquetFile
        with _errors_explained(path):
            self._file = ParquetFile(path)
        self.names = list(self._file.schema_arrow.names)
        self._texts = [one.name for one in self._file.schema_arrow if types.is_string(one.type)]

    @cached_property
    def num_rows(self) -> int:
        return int(self._file.metadata.num_rows)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        column = self._texts[0] if len(self._texts) == 1 else next(filter(self._texts.__contains__, COLUMNS), None)
        if column is None:
            known = ", ".join(self._texts) or "none"
            expected = f"expected one, or one of the name {', '.join(COLUMNS)}"
            raise DataError.at(self.path, f"columns of text: {known}; {expected}")
        for number, values in self.values([column], start, stop):
            yield number, str(values[column] or "")

    def values(self, names: Sequence[str], start: int, stop: int) -> Iterator[Values]:
        """(number, these columns) of the rows start + 1 to stop. Groups of rows outside are not read."""
        groups: list[int] = []
        first = before = 0
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            if before < stop and before + size > start:
                first = first if groups else before
                groups.append(group)
            before += size
        with _errors_explained(self.path):
            batches = self._file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, columns=list(names))
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from enumerate(islice(rows, start - first, stop - first), start + 1)


class _Inventory(Manifest):
    """Rows that are other files, deleted ones or earlier versions have numbers, and are not yielded.

    The format: "Amazon S3 Inventory" in the S3 user guide.
    """

    def __init__(self, path: Path, base: str) -> None:
        super().__init__(path, base)
        try:
            content = parse_json(read_regular_file(path))
            names = ("sourceBucket", "fileFormat", "fileSchema")
            self._bucket, self._format, schema = (str(content[name]) for name in names)
            bucket = str(content["destinationBucket"]).removeprefix("arn:aws:s3:::")
            keys = [str(file["key"]) for file in content["files"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError.at(path, f"cannot be read as an S3 Inventory ({error!r}); {EXPECTED}") from error
        if self._format not in {"CSV", "Parquet"}:
            problem = f"fileFormat {self._format}; expected CSV or Parquet"
            raise DataError.at(path, problem, value=self._format)
        self._columns = [_plain(name) for name in schema.split(",")]
        self._files = []
        for key in keys:  # beside the manifest, where S3 puts it relative to the manifest, or downloaded
            name = PurePosixPath(key).name
            near = (path.parent / name, path.parent.parent / "data" / name)
            found = next((file for file in near if file.is_file()), None)
            self._files.append(found or local_file(f"s3://{bucket}/{key}"))

    @cached_property
    def num_rows(self) -> int:
        return sum(self._sizes)

    @cached_property
    def _sizes(self) -> list[int]:
        is_csv = self._format == "CSV"
        return [_num_lines(file) if is_csv else _Parquet(file, "").num_rows for file in self._files]

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        before = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            here = range(max(start - before, 0), min(stop - before, size))
            values = self._of_csv if self._format == "CSV" else self._of_parquet
            for number, row in values(file, here.start, here.stop) if here else ():
                is_old, is_deleted = (str(row.get(name)).lower() for name in ("islatest", "isdeletemarker"))
                is_gone = is_old == "false" or is_deleted == "true"
                if not is_gone and PurePosixPath(row["key"]).suffix.lower() in IMAGE_SUFFIXES:
                    yield before + number, f"s3://{row.get('bucket') or self._bucket}/{row['key']}"
            before += size

    def _of_csv(self, file: Path, start: int, stop: int) -> Iterator[Values]:
        with _opened(file) as lines:
            texts = (line.decode() for line in islice(_lines(lines), start, stop))
            for number, cells in enumerate(csv.reader(texts), start + 1):
                row = dict(zip(self._columns, cells, strict=False))
                # Keys are URL-encoded here, where a plus sign can only stand for a space.
                yield number, row | {"key": unquote_plus(row.get("key", ""))}

    @staticmethod
    def _of_parquet(file: Path, start: int, stop: int) -> Iterator[Values]:
        table = _Parquet(file, "")
        names = [name for name in table.names if _plain(name) in {"bucket", "key", "islatest", "isdeletemarker"}]
        for number, row in table.values(names, start, stop):
            yield number, {_plain(name): value for name, value in row.items()}


class _ShardIndex(Manifest):
    is_of_shards = True

    @cached_property
    def _names(self) -> list[str]:
        places = open_shards(self.path.parent).places
        return [f"{archive}/{name}" for archive, names in places.items() for name in names]

    @cached_property
    def num_rows(self) -> int:
        return len(self._names)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        yield from enumerate(self._names[start:stop], start + 1)


KINDS: Mapping[str, type[Manifest]] = {LIST_SUFFIX: _List, PARQUET_SUFFIX: _Parquet}


def _plain(column: str) -> str:
    """A column's name: `Is Latest` of CSV and `is_latest` of Parquet are both islatest."""
    return column.strip().replace("_", "").lower()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines that are not blank."""
    return (line for line in file if not line.isspace())


def _num_lines(path: Path) -> int:
    with _opened(path) as file:
        return sum(1 for _ in _lines(file))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with _errors_explained(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield file  # type: ignore[misc]  # GzipFile iterates over lines too


@contextmanager
def _errors_explained(path: Path) -> Iterator[None]:
    try:
        require_regular_file(path)
        yield
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: Arrow's, and text that is not UTF-8
        raise DataError.at(path, f"cannot be read: {error}; copy it again") from error
