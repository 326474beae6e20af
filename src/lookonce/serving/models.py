"""The served models: each has threads of its own; decoding and drawing have others. All doors detect through here."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import numpy as np

from lookonce.cores import usable_threads
from lookonce.data.images import image_header, read_image
from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.letterbox import ImageArray
from lookonce.prediction.draw import draw
from lookonce.prediction.renderer import encode
from lookonce.prediction.result import PredictedImage
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.registry import load_runtime
from lookonce.serving.batching import Batch, Limits, ModelThreads, QueueFull
from lookonce.settings.names import require_one_of
from lookonce.settings.record import ModelRecord
from lookonce.workflows.predict_request import PredictRequest, detects_as

Given = TypeVar("Given")
Result = TypeVar("Result")
# Pixels of all images that are decoded at once, as a multiple of the most that one may have.
IMAGES_AT_ONCE = 4


async def answer_each(answer: Callable[[Given], Awaitable[Result]], given: Iterable[Given]) -> list[Result]:
    """`answer` of each, in order; of few at a time, so that one request does not use up the pixels of all."""
    places = asyncio.Semaphore(IMAGES_AT_ONCE)

    async def in_turn(one: Given) -> Result:
        async with places:
            return await answer(one)

    return await asyncio.gather(*map(in_turn, given))


class TooLarge(DataError):
    """A body or an image over the limit of the server."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model is, and what opens it: see runtimes.registry.load_runtime."""

    path: Path
    names: Path | None = None
    device: str = "auto"
    runtime: str = "auto"

    def open(self) -> Runtime:
        """The runtime, which has run once: the first run of some takes seconds."""
        opened = load_runtime(self.path, names=self.names, device=self.device, runtime=self.runtime)
        blank = np.zeros((32, 32, 3), np.uint8)
        for batch in ([blank], [blank, blank]):
            detects_as(opened, PredictRequest("")).detect(batch)
        return opened


@dataclass(frozen=True, kw_only=True)
class Found:
    """Detections of one image, with the record and version (1, 2 ...) of the model that detected."""

    detections: Detections
    record: ModelRecord
    version: int


class ServedModel:
    """A model with its name and threads. record and version are those that new requests get."""

    def __init__(self, name: str, source: Source, limits: Limits, on_batch: Callable[[Batch], None]) -> None:
        self.name, self.source = name, source
        self.version = 0
        self.record: ModelRecord
        self._reloading = threading.Lock()
        self.threads = ModelThreads(self._opened(), limits, on_batch)

    def reload(self) -> None:
        """Read the weights again; batches that begin afterwards run with them. After an error the old ones stay."""
        with self._reloading:
            self.threads.replace(self._opened())

    def _opened(self) -> Callable[[PredictRequest, Sequence[ImageArray]], list[Found]]:
        opened = self.source.open()
        self.version, self.record = self.version + 1, opened.record
        version = self.version

        def run(options: PredictRequest, images: Sequence[ImageArray]) -> list[Found]:
            detections = detects_as(opened, options).detect(images)
            return [Found(detections=one, record=opened.record, version=version) for one in detections]

        return run


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Detections of one image by `model`. image (H, W, 3) uint8 RGB, upright."""

    model: str
    name: str
    image: ImageArray
    found: Found

    @property
    def predicted(self) -> PredictedImage:
        """The same as `lookonce predict` returns it."""
        height, width = self.image.shape[:2]
        return PredictedImage(
            name=self.name,
            place=Path(self.name),
            image_id=1,
            size_wh=(width, height),
            detections=self.found.detections,
            class_names=self.found.record.class_names,
        )

    def drawn(self, suffix: str) -> bytes:
        return encode(draw(self.image, self.found.detections, self.found.record.class_names), suffix)


class Models:
    """Served models by name; the first is the default. max_pixels: of one image; seconds: for one detection."""

    def __init__(self, models: Sequence[ServedModel], *, max_pixels: int, seconds: float) -> None:
        self.by_name: Mapping[str, ServedModel] = {model.name: model for model in models}
        self.max_pixels, self.seconds = max_pixels, seconds
        self._pixels_left = IMAGES_AT_ONCE * max_pixels
        self._workers = ThreadPoolExecutor(usable_threads(), "lookonce-decode")

    def __getitem__(self, name: str) -> ServedModel:
        """The model of that name, the first for no name."""
        if name:
            require_one_of("model", name, self.by_name)
        return self.by_name[name or next(iter(self.by_name))]

    @property
    def are_ready(self) -> bool:
        return all(model.threads.is_alive for model in self.by_name.values())

    async def detect(
        self, content: bytes | ImageArray, options: PredictRequest, *, model: str = "", name: str = "image"
    ) -> Answer:
        """Detect objects in an image file's bytes, or in (H, W, 3) uint8 RGB pixels.

        DataError: an image that cannot be read; TooLarge: too many pixels; SettingsError: an unknown model or class;
        NotRun: too many requests. The order of checks is that of their cost.
        """
        served, deadline = self[model], monotonic() + self.seconds
        if isinstance(content, bytes):
            width, height = (await self.in_worker(image_header, content, name=name)).size_wh
        else:
            height, width = content.shape[:2]
        with self._decoding(width * height, name):
            image = await self.in_worker(read_image, content, name=name) if isinstance(content, bytes) else content
            found = await asyncio.wrap_future(served.threads.submit(image, options, deadline=deadline))
        return Answer(model=served.name, name=name, image=image, found=found)

    async def in_worker(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Run a function in a thread that may be busy for long."""
        return await asyncio.wrap_future(self._workers.submit(function, *arguments, **options))

    def close(self, seconds: float | None = None) -> None:
        """Answer what waits, for at most so many seconds, and end the threads."""
        for model in self.by_name.values():
            model.threads.close(seconds=seconds)
        self._workers.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _decoding(self, pixels: int, name: str) -> Iterator[None]:
        """Inside the block the pixels count as decoded; only the event loop's thread calls it."""
        if pixels > self.max_pixels:
            raise TooLarge(f"{name}: {pixels:,} pixels; expected at most {self.max_pixels:,}; resize it", value=pixels)
        if pixels > self._pixels_left:
            raise QueueFull("too many large images at once; try again later", 1.0)
        self._pixels_left -= pixels
        try:
            yield
        finally:
            self._pixels_left += pixels
