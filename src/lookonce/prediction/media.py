"""Images and clips that have not been read yet, and all of one SOURCE."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.decoders import TruncatedImage
from lookonce.data.images import read_image
from lookonce.errors import DataError
from lookonce.prediction.video import USUAL_RATE, Frame, refuse

NUM_READERS = 2  # threads that read images


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A sequence of frames with timestamps. name, place: as for an image. frames() opens the clip.

    num_frames: None when unknown. live: the source does not wait for the consumer, so frames may be dropped.
    """

    name: str
    place: Path
    frames: Callable[[], Iterable[Frame]]
    path: Path | None = None
    num_frames: int | None = None
    frame_rate: Fraction = USUAL_RATE
    live: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """One image that has not been read yet. It comes from one of path, content (encoded bytes), fetch (from which these
    come when it is read) or pixels (a decoder).

    name: its name in errors and result files. place: relative path for its results, unique within one SOURCE.
    image_id: as in COCO. clip, frame, seconds: the clip it is a frame of, its 0-based index, and the time since the
    clip's start.
    """

    name: str
    place: Path
    path: Path | None = None
    content: bytes | None = None
    fetch: Callable[[], bytes] | None = None
    pixels: Callable[[], NDArray[np.uint8]] | None = None
    image_id: int = 0
    clip: Clip | None = None
    frame: int = 0
    seconds: Fraction = Fraction(0)

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright; DataError when it cannot be read as an image."""
        if self.pixels is not None:
            return self.pixels()
        if self.path is not None:
            return read_image(self.path, name=self.name)
        return read_streamed(self.fetch() if self.fetch is not None else self.content or b"", self.name)


@dataclass(frozen=True, kw_only=True)
class Media:
    """All images and clips of one SOURCE. total: number of images and frames, None when unknown. num_readers: threads
    that read them."""

    entries: Iterable[ImageSource | Clip]
    total: int | None
    live: bool = False
    num_readers: int = NUM_READERS

    @property
    def is_finite(self) -> bool:
        """Whether the number of images is known in advance; clips and streams may be endless."""
        return isinstance(self.entries, Sequence) and not self.clips

    @property
    def clips(self) -> list[Clip]:
        return [entry for entry in self.known if isinstance(entry, Clip)]

    @property
    def known(self) -> Sequence[ImageSource | Clip]:
        """The entries that are known before the first is read; empty for a stream."""
        return self.entries if isinstance(self.entries, Sequence) else ()

    def images(self) -> Iterator[ImageSource]:
        """Yields each image and frame in order, with its image_id; a clip is opened when it is reached."""
        images = [entry for entry in self.known if isinstance(entry, ImageSource)]
        ids = iter(image_ids(images)) if self.is_finite else count(1)
        for entry in self.entries:
            for image in (entry,) if isinstance(entry, ImageSource) else _frames_of(entry):
                yield image if image.image_id else replace(image, image_id=next(ids))


def read_streamed(content: bytes, name: str) -> NDArray[np.uint8]:
    """An image that has arrived over a network or a pipe: an incomplete one was cut off there, not on a disk."""
    try:
        return read_image(content, name=name)
    except TruncatedImage as error:
        raise DataError(f"{name}: broke off inside an image, after {len(content):,} bytes of it", path=name) from error


def image_ids(sources: Sequence[ImageSource]) -> list[int]:
    """COCO `image_id` of each image: the numeric name (000000000139.jpg) if all names are numeric, else 1, 2, 3 ..."""
    stems = [source.place.stem for source in sources]
    if all(stem.isdecimal() and stem.isascii() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(sources) + 1))


def _frames_of(clip: Clip) -> Iterator[ImageSource]:
    try:
        for number, frame in enumerate(clip.frames()):
            yield ImageSource(
                name=f"{clip.name} frame {number}",
                place=clip.place.with_suffix("") / f"{number:06}.jpg",
                pixels=frame.pixels,
                clip=clip,
                frame=number,
                seconds=frame.seconds,
            )
    except DataError as error:
        yield unreadable(clip.name, clip.place, error)


def unreadable(name: str, place: Path, error: DataError) -> ImageSource:
    """A source whose read() raises `error`, so that it is reported in order, like a damaged image."""
    return ImageSource(name=name, place=place, pixels=partial(refuse, error))
