"""Writes annotated images and videos, and a crop of each detected object: `--save images,crops`."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.letterbox import ImageArray
from lookonce.ordered import ordered_map
from lookonce.prediction.draw import draw
from lookonce.prediction.media import Clip, ImageSource, Media
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.video import VideoWriter, require_video
from lookonce.settings.record import ModelRecord
from lookonce.storage import os_errors_explained

# Images of other formats (GIF, TIFF ...) are saved as JPEG, under their full name plus .jpg.
DRAWN_SUFFIXES = (".jpg", ".jpeg", ".png")
JPEG_QUALITY = 92
CROPS = "crops"
NUM_WRITERS = 2
DRAWN_AHEAD = 4  # images drawn while an earlier one is being written


class Renderer:
    """Draws the predictions that pass through `drawn` into `folder`: one file per image, one .mp4 per clip."""

    def __init__(self, folder: Path, record: ModelRecord, *, images: bool, crops: bool) -> None:
        self._folder, self._record, self._images, self._crops = folder, record, images, crops
        self._clip: Clip | None = None
        self._writer: VideoWriter | None = None

    def drawn(self, predictions: Iterator[Prediction], *, live: bool = False) -> Iterator[Prediction]:
        """Yields each prediction after its files have been written."""
        if not (self._images or self._crops):
            yield from predictions
            return
        with closing(self), ThreadPoolExecutor(NUM_WRITERS, "lookonce-draw") as writers:
            for one, frame in ordered_map(writers, self._finish, predictions, ahead=0 if live else DRAWN_AHEAD):
                if frame is not None:
                    clip = one.source.clip
                    assert clip is not None
                    if clip is not self._clip or self._writer is None:
                        self.close()
                        self._clip = clip
                        self._writer = VideoWriter(drawing_path(clip, self._folder), frame_rate=clip.frame_rate)
                    self._writer.add(frame, one.source.seconds)
                yield one

    def close(self) -> None:
        """Finish the video file that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _finish(self, one: Prediction) -> tuple[Prediction, ImageArray | None]:
        """The annotated frame of a clip, to be written in order; all other files are written here."""
        names = self._record.class_names
        for number, (crop, label) in enumerate(crops_of(one.image, one.detections) if self._crops else (), start=1):
            path = drawing_path(one.source, self._folder / CROPS / folder_name(names, label))
            _write(path.with_stem(f"{path.stem}-{number}"), crop)
        if not self._images:
            return one, None
        drawn = draw(one.image, one.detections, names, track_ids=one.track_ids)
        if one.source.clip is not None:
            return one, drawn
        _write(drawing_path(one.source, self._folder), drawn)
        return one, None


def drawing_path(source: ImageSource | Clip, folder: Path) -> Path:
    """Path of the annotated copy of an image or clip: its own name below `folder`."""
    place = source.place
    if isinstance(source, Clip):
        return folder / place.with_suffix(".mp4")
    return folder / (place if place.suffix.lower() in DRAWN_SUFFIXES else place.with_name(f"{place.name}.jpg"))


def require_untouched(media: Media, folder: Path, *, repeats: bool = True) -> None:
    """SettingsError when an annotated copy would overwrite an original image or clip, a recording of a live source,
    or (without repeats) any file; MissingExtra when videos cannot be written.

    repeats: what lies in `folder` was drawn by an earlier prediction."""
    if media.clips:
        require_video()
    # Path.resolve raises RuntimeError for a link that leads to itself.
    originals = {os.path.realpath(entry.path) for entry in media.known if entry.path is not None}
    for entry in media.known:
        drawing = drawing_path(entry, folder)
        if os.path.realpath(drawing) in originals:
            problem = f"the annotated copy would replace the original {entry.name}; choose another folder"
            raise SettingsError.of("output", folder, problem)
        if (media.live or not repeats) and drawing.exists():
            problem = f"contains {drawing.relative_to(folder)} already, which is not overwritten; name another folder"
            raise SettingsError.of("output", folder, problem)


def crops_of(image: ImageArray, found: Detections) -> Iterator[tuple[ImageArray, int]]:
    """The pixels that each box touches, at least one, and its label; highest score first."""
    height, width = image.shape[:2]
    limits = np.array([width, height])
    for box, label in zip(found.boxes_xyxy, found.labels.tolist(), strict=True):
        left, top = np.clip(np.floor(box[:2]).astype(int), 0, limits - 1)
        right, bottom = np.clip(np.ceil(box[2:]).astype(int), (left + 1, top + 1), limits)
        yield image[top:bottom, left:right], label


def folder_name(class_names: tuple[str, ...], label: int) -> str:
    """A class name as a folder name: letters, digits, -, _ and inner dots; "class N" when no character is left."""
    return re.sub(r"[^\w.-]+", "_", class_names[label]).strip("._") or f"class {label}"


def encode(image: ImageArray, suffix: str, quality: int = JPEG_QUALITY) -> bytes:
    """(H, W, 3) uint8 RGB -> the bytes of an image file in the format of the suffix; quality: of JPEG."""
    # Not cv2.imwrite: it fails for some non-ASCII paths, and reports no reason.
    options = [] if suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, content = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return content.tobytes()


def _write(path: Path, image: ImageArray) -> None:
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image, path.suffix))
