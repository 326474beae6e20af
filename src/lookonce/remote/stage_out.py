"""Stage-out: uploads a run folder while the run continues, and retries after network errors.

Single files are uploaded under their names. A published folder (one with the marker COMPLETE, such as a checkpoint) is
replaced as a whole: its files go below `NAME/VERSION/`, and the small object `NAME/CURRENT` names the version after all
of them are uploaded. `fetch_run` reads it back. A container that dies during an upload loses no earlier version.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from lookonce.errors import LookonceError
from lookonce.log import get_logger
from lookonce.remote.objects import Location, ObjectStore, RemoteAway, agrees, etag_of, require_inside
from lookonce.storage import MARKER, write_file

CURRENT = "CURRENT"
NOT_SYNCED = "NOT-SYNCED.txt"
EVERY_SECONDS = 30.0


@dataclass
class StageOut:
    """Copies changes of `folder` to `location`. unsent: {name: reason} of what the latest `sync` could not upload."""

    folder: Path
    location: Location
    store: ObjectStore  # its patience_seconds limits how long a `sync` waits for the service
    unsent: dict[str, str] = field(default_factory=dict)
    _sent: dict[str, "Stamp"] = field(default_factory=dict)  # name -> stamp of its files when they were uploaded
    _known: dict[str, str] | None = None  # name -> ETag of the remote object
    _complained: bool = False

    def sync(self) -> bool:
        """Uploads what is new; returns False if something could not be uploaded (the next call retries it).

        After the first timeout every remaining item is tried only once, because each would wait equally long.
        """
        self.unsent, patience = {}, self.store.patience_seconds
        for send, path in self._work():
            try:
                send(path)
            except (LookonceError, OSError) as error:
                self.unsent[str(path.relative_to(self.folder))] = str(error)
                if isinstance(error, RemoteAway):
                    self.store.patience_seconds = 0
        self.store.patience_seconds = patience
        if self.unsent and not self._complained:
            name, reason = next(iter(self.unsent.items()))
            get_logger().warning(f"not yet uploaded to {self.location}: {name} ({reason}); retrying")
        self._complained = bool(self.unsent)
        return not self.unsent

    def finish(self) -> bool:
        """The last `sync`. Lists what could not be uploaded in NOT-SYNCED.txt of the folder."""
        done = self.sync()
        note = self.folder / NOT_SYNCED
        if done:
            note.unlink(missing_ok=True)
        else:
            lines = "".join(f"{name}: {reason}\n" for name, reason in sorted(self.unsent.items()))
            write_file(note, f"Not at {self.location}:\n{lines}")
        return done

    def _work(self) -> Iterator[tuple[Callable[[Path], None], Path]]:
        """(upload function, path) of each published folder and file; hidden files are ignored."""
        published = {marker.parent for marker in self.folder.rglob(MARKER) if not _is_hidden(marker, self.folder)}
        for folder in sorted(published):
            yield self._send_published, folder
        for path in sorted(self.folder.rglob("*")):
            is_inside = any(folder in path.parents for folder in published)
            if path.is_file() and not is_inside and not _is_hidden(path, self.folder) and path.name != NOT_SYNCED:
                yield self._send_file, path

    def _send_file(self, path: Path) -> None:
        name = path.relative_to(self.folder).as_posix()
        stamp = stamp_of(path)
        if self._sent.get(name) == stamp:
            return
        if self._there().get(name) != etag_of(path):
            self._there()[name] = self.store.upload(path, self.location / name)
        self._sent[name] = stamp

    def _send_published(self, folder: Path) -> None:
        name = folder.relative_to(self.folder).as_posix()
        stamp = stamp_of(*folder.iterdir())
        if self._sent.get(name) == stamp:
            return
        version = version_of(folder)
        base = self.location / name
        present = {entry.name: entry for entry in self.store.entries(base)}
        for path in sorted(folder.iterdir()):
            target = f"{version}/{path.name}"
            if target not in present or present[target].etag != etag_of(path):
                self.store.upload(path, base / target)
        if stamp_of(*folder.iterdir()) != stamp:
            return  # replaced during the upload: the next `sync` uploads the new one
        self.store.put_text(version, base / CURRENT)
        self._sent[name] = stamp
        kept = {name for name in present if name == CURRENT or name.startswith(f"{version}/")}
        self.store.delete([entry for name, entry in present.items() if name not in kept])

    def _there(self) -> dict[str, str]:
        if self._known is None:
            self._known = {entry.name: entry.etag for entry in self.store.entries(self.location)}
        return self._known


Stamp = tuple[tuple[str, int, int], ...]


def stamp_of(*paths: Path) -> Stamp:
    """(name, size, mtime_ns) of each file: detects changes without reading the files."""
    stats = {path.name: path.stat() for path in paths}
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in sorted(stats.items()))


def version_of(folder: Path) -> str:
    """Twelve hex digits of a published folder's content: the digest of its files' names and SHA-256 sums."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _is_hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


@contextmanager
def staging_out(
    folder: Path, location: Location, store: ObjectStore, *, every_seconds: float = EVERY_SECONDS
) -> Iterator[StageOut]:
    """Uploads what is new in `folder` every few seconds, in a thread, until the block ends; then uploads the rest.

    Network errors never reach the block. Afterwards `unsent` lists what is missing.
    """
    hurried = type(store)(store.environment, patience_seconds=min(20, every_seconds, store.patience_seconds))
    sending = StageOut(folder, location, hurried)
    done = Event()

    def work() -> None:
        while not done.wait(every_seconds):
            sending.sync()

    thread = Thread(target=work, name="lookonce-stage-out", daemon=True)
    thread.start()
    try:
        yield sending
    finally:
        done.set()
        thread.join()
        if not sending.finish():
            get_logger().warning(f"waiting up to {store.patience_seconds:.0f} seconds for {location}")
            sending.store = store
            sending.finish()


def fetch_run(location: Location, folder: Path, store: ObjectStore) -> bool:
    """Downloads to `folder` what `StageOut` uploaded; returns False if there is nothing.

    Ignores unfinished versions; files that are already up to date are not downloaded again.
    """
    entries = store.entries(location)
    for entry in entries:
        require_inside(entry)
    currents = {
        entry.name.removesuffix(f"/{CURRENT}"): store.get_text(entry.location)
        for entry in entries
        if entry.name.endswith(f"/{CURRENT}")
    }
    wanted = [(entry, folder / target) for entry in entries if (target := _local_name(entry.name, currents))]
    missing = [(entry, path) for entry, path in wanted if not (path.is_file() and agrees(path, entry.size, entry.etag))]
    for base in currents:
        if any(folder / base in path.parents for _, path in missing):
            (folder / base / MARKER).unlink(missing_ok=True)  # the folder is incomplete until all files are downloaded
    for entry, path in sorted(missing, key=lambda pair: pair[1].name == MARKER):
        store.download(entry, path)
    return bool(entries)


def _local_name(name: str, currents: dict[str, str]) -> str | None:
    """last/VERSION/file -> last/file for the current version, None for others and for the pointer itself."""
    for base, version in currents.items():
        if name.startswith(f"{base}/"):
            rest = name.removeprefix(f"{base}/")
            return f"{base}/{rest.removeprefix(f'{version}/')}" if rest.startswith(f"{version}/") else None
    return name
