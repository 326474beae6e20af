"""Atomic files and folders: a reader sees the complete old version or the complete new one.

A folder is replaced in four steps: write a hidden sibling, sync it to the disk, move the previous version aside, rename
the new one. A kill between any two steps leaves one complete version, which `find_published` returns.
"""

import errno
import hashlib
import io
import os
import secrets
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from lookonce.errors import LookonceError, shortened

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment,unused-ignore]

MARKER = "COMPLETE"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Of file systems without locks; EBADF: NFS locks no folders.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


class StorageError(LookonceError):
    """A folder that cannot be written: no space left, no permission."""


def sha256_file(path: Path) -> str:
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """Hex digest of the file's bytes; algorithm: as hashlib names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file atomically, as `new_file` does, and make its folder. Text is written in UTF-8, a byte of a file
    name that is not UTF-8 as `\\udcff`, which JSON reads back."""
    make_folder(path.parent)
    with new_file(path) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` when the block ends: readers see the old content or the new content, never
    a part.

    The last of several writers wins. A kill may leave the temporary file, which `remove_temporary_files` removes.
    Devices and what is in /dev are written to as they are: root would replace /dev/null for the whole machine.
    """
    if path.is_relative_to("/dev") or path.is_char_device():
        with os_errors_explained(path), path.open("wb") as device:
            yield device
        return
    # A new name: no other writer has it, and no link in a shared folder leads elsewhere.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with os_errors_explained(path):
        try:
            with temporary.open("xb") as file:
                yield file
            _sync(temporary)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_temporary_files(folder: Path) -> None:
    """Remove what kills during `write_file` left in a folder that has no other writer."""
    for path in folder.glob(".*.new"):
        if not path.is_dir():
            path.unlink()


@contextmanager
def os_errors_explained(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError with the path, the cause and the next step."""
    try:
        yield
    except OSError as error:
        raise StorageError(_explain(path, error), path=path) from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder in $TMPDIR, removed when the block ends. StorageError if there is no place for it or in it."""
    try:
        made = tempfile.TemporaryDirectory(prefix="lookonce-")
    except OSError as error:
        raise _no_temporary_space(str(error)) from error
    with made as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in NO_SPACE or _free_mib(Path(name)):  # another disk is full
                raise
            raise _no_temporary_space(os.strerror(errno.ENOSPC)) from error


def _no_temporary_space(reason: str) -> StorageError:
    place = os.environ.get("TMPDIR", "the folder for temporary files")
    return StorageError(
        f"{place}: {reason}; expected a writable folder with free space for temporary files; free some space, or name "
        "another: export TMPDIR=DIR",
        path=os.environ.get("TMPDIR"),
    )


@contextmanager
def atomic_folder(folder: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """Write a new version of `folder`: the block writes into the yielded path, which then replaces `folder`.

    If the block raises, the new version is removed and the previous one stays unchanged. previous: where the version
    that is replaced stays, on the same disk; None removes it.
    """
    with os_errors_explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        new = _new(folder)
        new.mkdir()
        with only_writer(new):
            try:
                yield new
                for path in new.iterdir():
                    _sync(path)
                _sync(new)
                (new / MARKER).touch()  # written last: a folder without it is incomplete
                _sync(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            if folder.exists():
                remove_published(previous or _old(folder))
                folder.rename(previous or _old(folder))
            new.rename(folder)
            _sync(folder.parent)
            remove_published(_old(folder))


def is_free(folder: Path) -> bool:
    """Whether nothing is there, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def require_replaceable(folder: Path, *, overwrite: bool, is_own: bool) -> None:
    """LookonceError unless `folder` is new or empty, or is_own (an earlier version) and overwrite."""
    if not is_free(folder) and not (overwrite and is_own):
        next_step = "add --overwrite" if is_own else "name a new folder"
        raise LookonceError.at(folder, f"exists already; {next_step}")


def find_published(folder: Path) -> Path | None:
    """Path of the complete version of `folder`, also after a kill; None if there is none."""
    candidates = (folder, _new(folder), _old(folder))
    return next((candidate for candidate in candidates if (candidate / MARKER).is_file()), None)


def recover(folder: Path) -> None:
    """Restore `folder` from the complete version that a killed `atomic_folder` left beside it, and remove the rest.

    StorageError if another process is writing a new version.
    """
    new = _new(folder)
    with only_writer(new) if new.is_dir() else nullcontext():
        if not (folder / MARKER).is_file():
            survivor = find_published(folder)
            if survivor is not None:
                remove_published(folder)
                survivor.rename(folder)
        remove_published(new)
        if (folder / MARKER).is_file():
            remove_published(_old(folder))


@contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Lock `folder` inside the block, after 10 s at most: a process that was killed may not have ended yet."""
    with os_errors_explained(folder), locked(folder / ".lock", patience_seconds=10):
        yield


@contextmanager
def work_lock(folder: Path, *, patience_seconds: float = 6 * 3600) -> Iterator[None]:
    """Lock a file beside `folder`, which need not exist: one process makes the folder, the others wait for it."""
    with locked(folder.with_name(f".{folder.name}.lock"), patience_seconds=patience_seconds):
        yield


@contextmanager
def locked(path: Path, *, patience_seconds: float) -> Iterator[None]:
    """Hold the lock file inside the block. StorageError, with the process ID, if another process holds it too long.

    The lock is released when its process ends, however it ends; the file stays. Windows and file systems without locks
    are not protected.
    """
    if fcntl is None:
        yield  # type: ignore[unreachable,unused-ignore]
        return
    make_folder(path.parent)
    with ExitStack() as stack:
        with os_errors_explained(path.parent):
            # No link: it could lead to a file of the user's, which the lock would empty.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
            file = stack.enter_context(os.fdopen(descriptor, "a+"))
        _take(file, path, time.monotonic() + patience_seconds)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Like `only_user`, without waiting and without a file in the folder; only for writers that use this block."""
    if fcntl is None:
        yield  # type: ignore[unreachable,unused-ignore]
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StorageError.at(
            folder, "another process writes into it; wait until it ends, or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        os.close(descriptor)


def _take(file: TextIO, path: Path, give_up_at: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                file.seek(0)
                holder = file.read().strip()
                raise StorageError.at(
                    path.parent, f"in use by another process ({holder}); wait until it ends, or choose another folder"
                ) from None
            time.sleep(0.1)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return
            raise


def require_space(folder: Path, num_bytes: int, purpose: str = "the checkpoints of this run") -> None:
    """StorageError if the disk of `folder` (which need not exist yet) has less than num_bytes free."""
    needed, free = 1 + (num_bytes >> 20), _free_mib(folder)
    if free < needed:
        wanted = f"about {needed} MiB needed for {purpose}; free some space or choose another folder"
        raise StorageError.at(folder, f"{free} MiB free on its disk; {wanted}")


def make_folder(folder: Path) -> Path:
    """The folder, made with its parents unless it exists."""
    with os_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def output_folder(output: Path | None, name: str) -> Path:
    """The folder of the option `output`; by default a new runs/NAME-K, so that nothing is overwritten."""
    return make_run_folder(Path("runs"), name) if output is None else make_folder(output)


def fresh_path(path: Path) -> Path:
    """`path`; if it is not free, with -2, -3 and so on appended to its stem."""
    number, fresh = 1, path
    while not is_free(fresh):
        number += 1
        fresh = path.with_stem(f"{path.stem}-{number}")
    return fresh


def make_run_folder(runs: Path, name: str) -> Path:
    """Create a new folder RUNS/NAME-K, K from 1; two processes never get the same one."""
    ends = (path.name.removeprefix(f"{name}-") for path in runs.glob(f"{name}-*"))
    number = 1 + max((int(end) for end in ends if end.isdecimal()), default=0)
    with os_errors_explained(make_folder(runs)):
        while True:
            folder = runs / f"{name}-{number}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1


def _new(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def remove_published(folder: Path) -> None:
    """Remove the folder, its marker first, so that a kill cannot leave a partial folder that looks complete."""
    if folder.is_symlink():  # not ours; what it leads to stays
        folder.unlink()
        return
    (folder / MARKER).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _sync(path: Path) -> None:
    """fsync a file or folder. Windows cannot open folders, so there only the rename protects them."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> str:
    if error.errno in NO_SPACE:
        free = _free_mib(path)
        return (
            f"{path}: no space left on the disk ({free} MiB free); a previous version is unchanged; free some space "
            "or choose another folder, then run the command again (a training: with --resume)"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: no write permission ({error.strerror}); choose a writable folder"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path}: a file exists where a folder is needed ({error.strerror}); choose another folder"
    if error.errno == errno.ENAMETOOLONG:
        return f"{shortened(path)}: {error.strerror}; expected names of up to 255 bytes each; choose a shorter one"
    if error.errno == errno.EISDIR:
        return f"{path}: is a folder; expected the name of a file to write; choose another name"
    return f"{path}: read or write failed ({error}); check the path and its disk"


def _free_mib(path: Path) -> int:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free >> 20


def require_regular_file(path: Path) -> None:
    """OSError for what blocks or never ends when it is read: a FIFO, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a zero byte in the name
        raise FileNotFoundError(errno.ENOENT, str(error)) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise FileNotFoundError(errno.ENOENT, "the name is too long") from error
        raise
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a FIFO, a socket or a device; expected a file")


def read_regular_file(path: Path, num_bytes: int = -1) -> bytes:
    """The content of a file, or its first `num_bytes`. OSError as in `require_regular_file`."""
    require_regular_file(path)
    with path.open("rb") as file:
        return file.read(num_bytes)


def stand_in(start: bytes) -> str:
    """What a file with these first 256 bytes is in place of its content, and the next step; "" for other files."""
    if not start:
        return "is empty (0 bytes); copy it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; run in its repository: git lfs pull"
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, such as an error or a login; download the file itself"
    return ""


def require_content(path: Path, error: type[LookonceError]) -> None:
    """`error` for a file that is only a `stand_in`. What cannot be read is left to its reader."""
    with suppress(OSError):
        if words := stand_in(read_regular_file(path, 256)):
            raise error.at(path, words)


def read_text_file(path: Path) -> str:
    """A UTF-8 file, with or without byte order mark, its lines ended by \\n. OSError as in `require_regular_file`;
    UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_regular_file(path)), encoding="utf-8-sig").read()
