"""Resolves `predict SOURCE`: images from files, bytes or the network; clips from videos, cameras or the screen."""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lookonce.cores import NUM_FETCHERS
from lookonce.data.findings import RaiseOnError
from lookonce.data.headers import missing_rows
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.links import report_links
from lookonce.data.listing import Listing
from lookonce.errors import DataError, MissingExtra, shortened
from lookonce.log import get_logger
from lookonce.prediction.byte_stream import images_in, max_image_bytes
from lookonce.prediction.camera import LatestFrame, camera_frames, connected, reconnecting, screen_frames
from lookonce.prediction.manifest import LIST_SUFFIX, Manifest, is_manifest, open_manifest
from lookonce.prediction.media import NUM_READERS, Clip, ImageSource, Media, read_streamed, unreadable
from lookonce.prediction.video import VIDEO_SUFFIXES, Frame, read_frames, read_header
from lookonce.remote.local_copy import CACHE
from lookonce.remote.objects import Entry, Location, ObjectStore, UnreadableObject, is_remote
from lookonce.remote.stage_in import cache_name, require_entries, stage_in
from lookonce.remote.store import open_store
from lookonce.remote.urls import HTTP, is_url, without_password
from lookonce.settings.names import counted, suggested_path
from lookonce.shown import without_secrets
from lookonce.storage import require_content, require_regular_file

LONGEST_NAME = 60  # characters of an image's name in the name of its results
SCREEN = "screen"
OTHER_FORMATS = "other formats: docs/predict.md"
NO_IMAGES = f"holds no images or videos; expected files ending in .jpg, .png, .webp, .mp4, .mov ... ({OTHER_FORMATS})"
EXPECTED = "expected an image, a video, a folder, a pattern, a .txt list, a camera index, a URL, s3://, screen, or -"


def find_media(source: str | Path, *, reconnect: int = 0, follow_links: bool = False, as_files: bool = False) -> Media:
    """The images and clips of SOURCE, sorted by name (a list keeps its order); DataError when there are none.

    folder: all image and video files in it and its subfolders, by suffix
    pattern (`*`, `?`, `[...]`, `**` for any folders): every matching file
    .txt file: one path per line, relative to the file's folder or to the working folder; with a URL or an s3:// address
    in it, and every other file of `prediction/manifest.py`, a manifest: its rows are read when they are needed
    number: the camera with this index
    `screen`: the screen
    `-`: one image, or several in a row, from standard input
    URL: an image, a video or a stream
    s3://BUCKET/KEY, obs://BUCKET/KEY: the objects at or below the key. Images are fetched when they are read, or
    downloaded first (as_files); videos are downloaded first
    Only the last two use the network. reconnect: see `reconnecting`. follow_links: files of a folder may be symbolic
    links to places outside it.
    """
    return find_all_media([str(source)], reconnect=reconnect, follow_links=follow_links, as_files=as_files)


def require_sources(*sources: str | None) -> None:
    """DataError for a path or a pattern where nothing is; an address is not looked up, and None is no source."""
    for source in filter(None, sources):
        if not is_remote(source) and not is_url(source) and not Path(source).exists():
            _paths(source, follow_links=True)  # raises


def find_all_media(sources: Sequence[str], **options: Any) -> Media:
    """The images and clips of all sources, in their order; several must be finite. options: of `find_media`."""
    found = [_found(source, **options) for source in sources]
    for source, media in zip(sources, found, strict=True):
        if media.live or not media.known:
            if len(found) == 1:
                return media
            raise DataError.at(
                source, "is a stream or a manifest; expected files, folders, patterns or lists beside other sources"
            )
    entries = [entry for media in found for entry in media.known]
    places = unique_places([entry.place for entry in entries])
    entries = [replace(entry, place=place) for entry, place in zip(entries, places, strict=True)]
    if len(entries) == 1 and isinstance(entries[0], ImageSource) and entries[0].pixels is not None:
        entries[0].read()  # raises the error of the only one, which cannot be opened
    return _media_of(entries, num_readers=max(media.num_readers for media in found))


def _found(text: str, *, reconnect: int = 0, follow_links: bool = False, as_files: bool = False) -> Media:
    """What one SOURCE names; the places of its files may be equal."""
    if not text.strip():
        raise DataError("source: empty; expected a path, a URL or another source; is a variable of the shell unset?")
    if text == "-":
        return Media(entries=_in_stream(sys.stdin.buffer), total=None)
    if is_manifest(text) and (is_remote(text) or _has_addresses(Path(text))):
        manifest = open_manifest(text)
        return Media(entries=_Rows(manifest), total=manifest.num_rows, num_readers=NUM_FETCHERS)
    if is_remote(text):
        return _in_store(text, as_files=as_files)
    if is_url(text):
        return connected(lambda: _at_url(text, reconnect), reconnect)
    try:
        is_here = Path(text).exists()
    except OSError as too_long:
        problem = f"source: {shortened(text)}: {too_long.strerror}; {EXPECTED}"
        raise DataError(problem, setting="source", path=text) from too_long
    if text == SCREEN and not is_here:
        return _live(SCREEN, SCREEN, screen_frames)
    if text.isdecimal() and text.isascii() and not is_here:
        return _of_camera(int(text), reconnect)
    return _of_files(text, follow_links)


def _of_files(text: str, follow_links: bool) -> Media:
    paths, folder = _paths(text, follow_links)
    places = [path.relative_to(folder) if folder else Path(path.name) for path in paths]
    entries = [_entry(path, place) for path, place in zip(paths, places, strict=True)]
    if is_manifest(text):
        for row in missing_rows(paths):
            error = DataError.at(paths[row], f"no such file; image {row + 1} of the list {text}")
            entries[row] = unreadable(str(paths[row]), places[row], error)
    return _media_of(entries)


def find_images(source: str | Path) -> list[ImageSource]:
    """The images of a file, folder, pattern or list, at least one, also those that links lead to; see `find_media`."""
    entries = [entry for entry in find_media(source, follow_links=True).entries if isinstance(entry, ImageSource)]
    found = [entry for entry in entries if entry.pixels is None]
    if not found:
        raise DataError.at(source, f"holds no images; expected files ending in .jpg, .png, .webp ... ({OTHER_FORMATS})")
    return found


def _in_store(address: str, *, as_files: bool) -> Media:
    """The images and videos at or below an s3:// address; their names are addresses."""
    location, store = Location.parse(address), open_store()
    listed = require_entries(location, store.entries(location))
    is_one = listed[0].location == location
    chosen = listed if is_one else [one for one in listed if _is_shown(one.name)]
    if not chosen:
        raise DataError.at(address, NO_IMAGES)
    chosen.sort(key=lambda one: Path(one.name))
    files = [one for one in chosen if as_files or Path(one.name).suffix.lower() in VIDEO_SUFFIXES]
    names, folder = {one.name for one in files}, CACHE / cache_name(location)
    if files:
        stage_in(location, folder, store, entries=files)

    def entry(one: Entry, place: Path) -> ImageSource | Clip:
        address = str(one.location)
        if one.name in names:
            return replace(_entry(folder / one.name, place), name=address)
        return ImageSource(name=address, place=place, fetch=partial(fetch_object, store, one.location))

    return _media_of([entry(one, Path(one.name)) for one in chosen], num_readers=NUM_FETCHERS)


def _has_addresses(path: Path) -> bool:
    """Whether a manifest is more than a list of paths on this machine, which all kinds of outputs can be made of."""
    if path.suffix.lower() != LIST_SUFFIX or not path.is_file():
        return path.is_file()
    manifest = open_manifest(str(path))
    return any(is_remote(row) or is_url(row) for _, row in manifest.rows(0, manifest.num_rows))


@dataclass(frozen=True)
class _Rows:
    """Iterates over the images of a manifest, each time from the first row."""

    manifest: Manifest

    def __iter__(self) -> Iterator[ImageSource]:
        return images_of(self.manifest, range(self.manifest.num_rows))


def images_of(manifest: Manifest, rows: range) -> Iterator[ImageSource]:
    """The images of these rows, counted from 0, as they are needed. image_id: number of the row, from 1."""
    store, digits = open_store(), len(str(manifest.num_rows))
    for number, row in manifest.rows(rows.start, rows.stop):
        place = Path(f"{number:0{digits}}-{PurePosixPath(row).name[-LONGEST_NAME:]}")
        yield replace(_of_row(manifest, row, place, store), image_id=number)


def _of_row(manifest: Manifest, row: str, place: Path, store: ObjectStore) -> ImageSource:
    base = manifest.base
    if manifest.is_of_shards:
        return ImageSource(name=f"{base}/{row}", place=place, path=manifest.path.parent / row)
    address = f"{base}/{row}" if is_remote(base) and not (is_remote(row) or is_url(row)) else row
    if is_remote(address):
        location = Location.parse(address)
        return ImageSource(name=str(location), place=place, fetch=partial(fetch_object, store, location))
    if address.partition("://")[0].lower() in HTTP:
        from lookonce.prediction.http import fetch

        return ImageSource(name=without_secrets(address), place=place, fetch=partial(fetch, address))
    path = _beside(Path(base), Path(row))
    return ImageSource(name=str(path), place=place, path=path)


def _is_shown(name: str) -> bool:
    """Whether a folder's listing has the file: an image or a video that is not hidden."""
    path = Path(name)
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not is_hidden


def fetch_object(store: ObjectStore, location: Location) -> bytes:
    """The bytes of an image in object storage; DataError if it alone cannot be read."""
    try:
        return store.get(location, max_image_bytes())
    except UnreadableObject as error:
        raise DataError(str(error), path=str(location)) from error


def _media_of(entries: Sequence[ImageSource | Clip], *, num_readers: int = NUM_READERS) -> Media:
    """What is known before it is read."""
    counts = [entry.num_frames if isinstance(entry, Clip) else 1 for entry in entries]
    total = None if None in counts else sum(number or 0 for number in counts)
    return Media(entries=entries, total=total, num_readers=num_readers)


def _paths(text: str, follow_links: bool) -> tuple[list[Path], Path | None]:
    """The files, and the folder to which their places are relative."""
    path = Path(text)
    if path.is_dir():
        listing = Listing(path)
        found = sorted(path / file for file in listing.with_suffix(*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
        others = ""
        if listing.other_images:
            suffixes = ", ".join(sorted({Path(file).suffix.lower() for file in listing.other_images}))
            others = f"{counted(len(listing.other_images), 'image')} of a format that is not read ({suffixes})"
        if not found:
            raise DataError.at(path, f"holds {others}; save as JPEG or PNG" if others else NO_IMAGES)
        if others:
            get_logger().warning(f"{path}: {others} left out; save as JPEG or PNG")
        if not follow_links:
            report_links(found, path, RaiseOnError(path))
        return found, path
    if path.suffix.lower() == LIST_SUFFIX and path.is_file():
        manifest = open_manifest(text)
        return [_beside(path.parent, Path(row)) for _, row in manifest.rows(0, manifest.num_rows)], None
    if path.exists():
        return [path], None
    if not glob.has_magic(text):
        raise DataError.at(text, f"no such file or folder; {EXPECTED}{suggested_path(path)}")
    found = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise DataError.at(text, "no file matches this pattern")
    return found, None


def _beside(folder: Path, path: Path) -> Path:
    """A path of a list: relative to the folder of the list if it is there, else to the working folder."""
    there = folder / path
    return there if os.path.exists(there) else path  # noqa: PTH110 (Path.exists raises for a name that is too long)


def unique_places(places: Sequence[Path]) -> Sequence[Path]:
    """Places for results, all with a number in front of their name if two are equal, also in upper and lower case.

    Videos are compared without their suffix, because their results go to NAME/ and NAME.mp4.
    """
    names = {place.with_suffix("") if place.suffix.lower() in VIDEO_SUFFIXES else place for place in places}
    if len({str(name).casefold() for name in names}) < len(places):
        digits = len(str(len(places)))
        places = [place.with_name(f"{number:0{digits}}-{place.name}") for number, place in enumerate(places, start=1)]
    return places


def _entry(path: Path, place: Path) -> ImageSource | Clip:
    name = str(path)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return ImageSource(name=name, place=place, path=path)
    try:
        require_regular_file(path)
        require_content(path, DataError)
        return _clip(name, place, name, path)
    except (OSError, MissingExtra, DataError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return unreadable(name, place, error if isinstance(error, DataError) else DataError.at(name, str(reason)))


def _clip(name: str, place: Path, address: str, path: Path | None = None) -> Clip:
    """The video at a path or URL. DataError if its header cannot be read."""
    header, frames = read_header(address, name), partial(read_frames, address, name)
    rate, count = header.frame_rate, header.num_frames
    return Clip(name=name, place=place, path=path, frames=frames, num_frames=count, frame_rate=rate)


def _of_camera(index: int, reconnect: int) -> Media:
    # Opened now, so that a camera that is not there is told at once; with `reconnect` it may still come.
    opened = iter([] if reconnect else [camera_frames(index)])
    return _live(f"camera {index}", f"camera-{index}", lambda: next(opened, None) or camera_frames(index), reconnect)


def _live(name: str, place: str, frames: Callable[[], Iterable[Frame]], reconnect: int = 0) -> Media:
    def latest() -> LatestFrame:
        return LatestFrame(reconnecting(frames, name, reconnect))

    clip = Clip(name=name, place=Path(f"{place}.mp4"), frames=latest, live=True)
    return Media(entries=(clip,), total=None, live=True)


def _in_stream(stream: BinaryIO) -> Iterator[ImageSource]:
    for number, content in enumerate(images_in(stream), start=1):
        more = "" if number == 1 else f"-{number}"
        name, place = "standard input" if number == 1 else f"standard input, image {number}", Path(f"stdin{more}.jpg")
        if content:
            yield ImageSource(name=name, place=place, content=content)
        else:
            error = DataError.at(name, "is empty (0 bytes); expected an image; did the program before the pipe fail?")
            yield unreadable(name, place, error)


def _at_url(url: str, reconnect: int) -> Media:
    """Our own reader decodes images from every source, so that boxes are equal; FFmpeg reads everything else."""
    from lookonce.prediction.http import open_url

    name = without_password(url)
    place = Path(re.sub(r"[^\w.-]+", "-", name.partition("://")[2]).strip("-.") or "stream")
    response = open_url(url)
    if response is None or response.kind == "video":
        clip = _clip(name, place, url)
        if clip.num_frames is None and (response is None or response.num_bytes is None):
            return _live(name, str(place), clip.frames, reconnect)
        return Media(entries=(clip,), total=clip.num_frames)
    if response.kind == "image":
        return Media(entries=[ImageSource(name=name, place=place, content=response.read())], total=1)
    responses = iter([response])

    def motion_jpeg() -> Iterator[Frame]:
        opened = next(responses, None) or open_url(url)
        for seconds, content in opened.images() if opened else ():
            yield Frame(seconds=seconds, pixels=partial(read_streamed, content, name))

    return _live(name, str(place), motion_jpeg, reconnect)
