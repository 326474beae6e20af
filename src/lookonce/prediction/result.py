"""Detections of one image, as `predict` returns them: in one line, as JSON, drawn, saved, or for other libraries."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import DataError, LookonceError
from lookonce.prediction.draw import draw
from lookonce.prediction.media import ImageSource
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.renderer import DRAWN_SUFFIXES, encode
from lookonce.settings.names import few
from lookonce.shown import shown
from lookonce.storage import os_errors_explained

MOST_IN_LINE = 10  # detections of an image that are listed in its line


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictedImage:
    """Detections of one image, highest score first, without its pixels. size_wh and boxes: pixels of the upright image.

    name: of the file or clip; frame: 0-based index in the clip; seconds: time since its start; place: relative path
    for results; class_names: of all classes; track_ids: see Prediction; source: where the pixels can be read again.
    """

    name: str
    place: Path
    image_id: int
    size_wh: tuple[int, int]
    detections: Detections
    class_names: Sequence[str]
    track_ids: NDArray[np.int64] | None = None
    frame: int | None = None
    seconds: float | None = None
    source: ImageSource | None = None

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """(N, 4) left, top, right, bottom in pixels."""
        return self.detections.boxes_xyxy

    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,) confidence, 0..1, descending."""
        return self.detections.scores

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) indices into class_names."""
        return self.detections.labels

    @property
    def names(self) -> list[str]:
        return [self.class_names[label] for label in self.labels]

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright; a file is read again. DataError if it is gone or has changed its size."""
        if self.source is None:
            raise DataError(f"{self.name}: its pixels were not kept; use stream() for the frames of a video")
        image = self.source.read()
        if image.shape[1::-1] != self.size_wh:
            found, expected = f"{image.shape[1]}x{image.shape[0]}", f"{self.size_wh[0]}x{self.size_wh[1]}"
            problem = f"is {found} pixels; expected {expected}: the file has changed since; predict it again"
            raise DataError.at(self.name, problem)
        return image

    def plot(self) -> NDArray[np.uint8]:
        """A copy of the image with a box and a label for each detection, (H, W, 3) uint8 RGB."""
        return draw(self.image, self.detections, self.class_names, track_ids=self.track_ids)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the annotated image as .jpg or .png, and return its path. An existing file is replaced."""
        path = Path(path)
        if path.suffix.lower() not in DRAWN_SUFFIXES:
            raise DataError.at(path, f"expected a name that ends in {', '.join(DRAWN_SUFFIXES)}")
        content = encode(self.plot(), path.suffix)
        with os_errors_explained(path):
            path.write_bytes(content)
        return path

    def to_dict(self) -> dict[str, Any]:
        """The image's entry in detections.json; boxes are left, top, right, bottom in pixels."""
        width, height = self.size_wh
        of_clip = {} if self.frame is None else {"frame": self.frame, "seconds": round(self.seconds or 0.0, 6)}
        labels, scores, boxes = (values.tolist() for values in (self.labels, self.scores, self.boxes_xyxy))
        rows = [
            {"class": name, "label": label, "score": score, "box_xyxy": box}
            for name, label, score, box in zip(self.names, labels, scores, boxes, strict=True)
        ]
        if self.track_ids is not None:
            for row, track in zip(rows, self.track_ids.tolist(), strict=True):
                row["track"] = track or None
        head = {"file": self.name, "image_id": self.image_id, **of_clip, "width": width, "height": height}
        return {**head, "detections": rows}

    def to_supervision(self) -> Any:
        """supervision.Detections with the class names in data["class_name"]; needs the package supervision."""
        try:
            from supervision import Detections as Theirs  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise LookonceError("to_supervision needs: pip install supervision") from error
        return Theirs(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.track_ids,
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def __len__(self) -> int:
        return len(self.detections)

    def __bool__(self) -> bool:
        """True, also without detections: an image is not empty because nothing was detected."""
        return True

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        """`dog.jpg: car 0.64, bicycle 0.59, dog 0.56`, highest score first."""
        words = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True)]
        return f"{shown(str(self.place))}: {shown(few(words, MOST_IN_LINE)) or 'no detections'}"

    def _repr_png_(self) -> bytes:
        """The annotated image, shown by notebooks."""
        return encode(self.plot(), ".png")


def without_image(one: Prediction, class_names: Sequence[str]) -> PredictedImage:
    """The prediction without the pixels of its image; those of a file, and of an array that was given, stay at hand."""
    height, width = one.image.shape[:2]
    clip = one.source.clip
    return PredictedImage(
        name=clip.name if clip else one.source.name,
        place=one.source.place,
        image_id=one.source.image_id,
        size_wh=(width, height),
        detections=one.detections,
        class_names=class_names,
        track_ids=one.track_ids,
        frame=one.source.frame if clip else None,
        seconds=float(one.source.seconds) if clip else None,
        source=None if clip else one.source,
    )
