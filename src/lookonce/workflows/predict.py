"""`lookonce predict`: detects objects and writes the results; predict_request.py has its options and their help."""

import time
from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lookonce.errors import DataError, SettingsError
from lookonce.log import Advance, get_logger, logging_to, pace, progress_bar
from lookonce.on_ranks import in_ranks
from lookonce.prediction.camera import screenshot
from lookonce.prediction.class_filter import chosen_labels
from lookonce.prediction.draw import draw
from lookonce.prediction.gather import gather_in_order
from lookonce.prediction.media import ImageSource, Media
from lookonce.prediction.outputs import LABELS, Context, open_outputs
from lookonce.prediction.pre_labels import are_files, pre_labels
from lookonce.prediction.predictor import Prediction, Unreadable
from lookonce.prediction.predictor import predict as predict_images
from lookonce.prediction.renderer import CROPS, Renderer, encode
from lookonce.prediction.result import PredictedImage, without_image
from lookonce.prediction.sources import SCREEN
from lookonce.prediction.tracks import require_tracker
from lookonce.prediction.tracks import track as track_objects
from lookonce.prediction.window import Window
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.request import takes
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.registry import choose_runtime, device_of, load_runtime
from lookonce.settings.names import counted, few
from lookonce.shown import command
from lookonce.signals import StopRequest, stop_on_signals
from lookonce.storage import only_writer
from lookonce.weights.checkpoint import read_record
from lookonce.weights.pull import find_checkpoint, find_weights
from lookonce.workflows.predict_folder import PRE_LABELS, free_folder, is_of_prediction, written_at
from lookonce.workflows.predict_request import (
    PredictRequest,
    detector_of,
    detects_as,
    most_detections,
    other_choices,
)

if TYPE_CHECKING:
    from lookonce.workflows.predict_parts import PredictedParts

SHOWN_IN_NOTEBOOK = 12
PER_IMAGE = ("images", "yolo", "crops")  # outputs of --save that an image which cannot be read does not have


@dataclass(kw_only=True, repr=False)
class Predicted:
    """The results of one SOURCE; iterates over its images.

    images: the result of each image; empty for videos and streams, whose results are in the files only. failed: name
    -> error message of each image that could not be read; exit_code is 1 if there are any. output: the folder, None if
    nothing was written; saves: what was written; pre_labels: the data set of --as-labels; of_frames: SOURCE contains
    videos; annotated: what was drawn, in words; is_main: False on all ranks but 0, whose result is the same.
    parts: those of a manifest; what could not be read is in their files, and counted there.
    """

    output: Path | None
    saves: Sequence[str] = ()
    parts: "PredictedParts | None" = None
    pre_labels: Path | None = None
    of_frames: bool = False
    annotated: str = ""
    is_main: bool = True
    images: list[PredictedImage] = field(default_factory=list)
    num_images: int = 0
    num_detections: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0

    def __iter__(self) -> Iterator[PredictedImage]:
        if self.num_images > len(self.images):
            raise DataError(
                "results of videos, streams, manifests are in the files only; iterate over model.stream(...)"
            )
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> PredictedImage:
        return self.images[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.images))

    def __repr__(self) -> str:
        of_images = f"{counted(self.num_images, 'image')}, {counted(self.num_detections, 'detection')}"
        return f"<Predicted: {of_images}{f', {len(self.failed)} failed' if self.failed else ''}>"

    def _repr_html_(self) -> str:
        """The first images, annotated, shown by notebooks."""
        shown = [b64encode(encode(image.plot(), ".jpg")).decode() for image in self.images[:SHOWN_IN_NOTEBOOK]]
        drawn = "".join(f'<img style="max-width:24em" src="data:image/jpeg;base64,{content}">' for content in shown)
        return f"{drawn}<pre>{escape(str(self))}</pre>"


@takes(PredictRequest)
def predict(request: PredictRequest) -> Predicted:
    if request.part is not None or request.engine == "ray":
        from lookonce.workflows.predict_parts import predict_parts  # and what writes object storage
        from lookonce.workflows.predict_ray import predict_on_ray

        parts = predict_on_ray(request) if request.engine == "ray" else predict_parts(request)
        return Predicted(output=Path(parts.output), saves=("jsonl",), parts=parts, **parts.totals())
    several = request.several()
    if several is None:
        return _load_and_predict(request)
    _require_shareable(request, request.media())
    device = device_of(request.chosen_weights, request.device, request.runtime)
    return in_ranks(several, device, _load_and_predict, {"request": request})


def _load_and_predict(request: PredictRequest, *, rank_group: RankGroup = SINGLE_RANK) -> Predicted:
    media, weights = request.media(), find_weights(request.chosen_weights)  # before anything slow
    if media.live and request.source == SCREEN:
        screenshot()  # an error without a display
    if request.classes is not None and choose_runtime(weights, request.runtime) == "pytorch" and weights.is_dir():
        chosen_labels(request.classes, read_record(find_checkpoint(weights)).class_names)
    loaded = load_runtime(weights, **request.opening)
    return predict_with(loaded, request, media=media, rank_group=rank_group)


def stream(runtime: Runtime, request: PredictRequest, media: Media) -> Iterator[Prediction]:
    """Each image or frame with its detections, in order; nothing is written.

    An image that cannot be read is logged and skipped. Close the iterator to stop before the end.
    """
    return _predictions(runtime, media, request, _log_unreadable)


def predict_in_memory(runtime: Runtime, request: PredictRequest, media: Media) -> Predicted:
    """The results of images, without writing anything. A single image that cannot be read raises its DataError; of
    several, it is logged and in `failed`."""
    if not media.is_finite:
        problem = "is a video, a stream or a manifest; iterate over model.stream(...), or set output=FOLDER"
        raise SettingsError.of("source", request.source, problem)
    if request.show:
        raise SettingsError("show: expected with output=FOLDER; or iterate and use .plot()", setting="show", value=True)
    _require_possible(runtime, request)
    predicted = Predicted(output=None)

    def failed(source: ImageSource, error: DataError) -> None:
        if len(media.known) == 1:
            raise error
        _log_unreadable(source, error)
        predicted.failed[source.name] = str(error)

    started = time.perf_counter()
    for one in _predictions(runtime, media, request, failed):
        predicted.images.append(without_image(one, runtime.record.class_names))
    predicted.seconds = time.perf_counter() - started
    predicted.num_images = len(predicted.images)
    predicted.num_detections = sum(map(len, predicted.images))
    return predicted


def _log_unreadable(_source: ImageSource, error: DataError) -> None:
    get_logger().warning("%s", error)


def predict_with(
    runtime: Runtime, request: PredictRequest, *, media: Media | None = None, rank_group: RankGroup = SINGLE_RANK
) -> Predicted:
    """`predict` with opened weights; those of the request are named in the files. media: the images of SOURCE.

    Returns the same on all ranks; rank 0 writes the detections of all.
    """
    saves, detector = request.saves, detector_of(runtime, request)
    media = request.media() if media is None else media
    _require_possible(runtime, request)
    if request.as_labels and not are_files(media):
        problem = "is no set of image files; save the images or frames first"
        raise SettingsError.of("as_labels", request.source, problem)
    window = Window(request.source) if request.show else None  # before the folder is made
    if rank_group.size > 1:
        rank_group.require_same([str(entry.place) for entry in media.known], "the images")
    folder = rank_group.broadcast(free_folder(request, media) if rank_group.is_main else None)
    head = {
        "weights": str(request.chosen_weights),
        "class_names": runtime.record.class_names,
        "threshold": detector.score_threshold,
        "iou_threshold": detector.iou_threshold,
        "max_detections": most_detections(detector, request),
        "multi_label": detector.multi_label,
        "agnostic": detector.agnostic,
    }
    context = Context(folder=folder, record=runtime.record, head=head | other_choices(request))
    predicted = Predicted(
        output=folder,
        saves=saves,
        of_frames=bool(media.clips),
        annotated=_kinds_of(media) if "images" in saves else "",
        is_main=rank_group.is_main,
    )
    before = written_at(folder) if rank_group.is_main and is_of_prediction(folder) else {}
    with logging_to(), only_writer(folder) if rank_group.is_main else nullcontext():
        _run(runtime, media, request, context, predicted, rank_group, window)
        if request.as_labels and predicted.images and rank_group.is_main:
            from lookonce.data.write import write_data  # imports all formats of data sets

            dataset, scores = pre_labels(predicted.images, runtime.record)
            predicted.pre_labels = folder / PRE_LABELS
            write_data([dataset], predicted.pre_labels, to=request.as_labels, scores=scores)
        if left := before.items() & (written_at(folder).items() if before else ()):
            names = few([path.relative_to(folder).as_posix() for path, _ in sorted(left)])
            get_logger().warning("%s: also contains files that this prediction has not written: %s", folder, names)
    return predicted


def _kinds_of(media: Media) -> str:
    """ "images", "video", "images and videos"."""
    videos = "video" if len(media.clips) == 1 else "videos"
    has_images = len(media.known) > len(media.clips)
    return " and ".join([*(["images"] if has_images or not media.clips else []), *([videos] if media.clips else [])])


def _run(
    runtime: Runtime,
    media: Media,
    request: PredictRequest,
    context: Context,
    predicted: Predicted,
    rank_group: RankGroup,
    window: Window | None,
) -> None:
    """Draw and write the detections of each image; Ctrl-C ends a live source, and keeps the finished part of others."""

    def failed(name: str, error: DataError) -> None:
        get_logger().warning("%s", error)
        predicted.failed[name] = str(error)

    saves = request.saves
    drawings = Renderer(context.folder, context.record, images="images" in saves, crops="crops" in saves)
    stop = StopRequest()

    def results(on_unreadable: Unreadable) -> Generator[PredictedImage]:
        drawn = drawings.drawn(_predictions(runtime, media, request, on_unreadable, stop, rank_group), live=media.live)
        with closing(drawn):  # type: ignore[type-var]  # a generator, though its type says less
            for one in drawn:
                if window is not None:
                    _show(window, one, runtime.record.class_names, stop)
                yield without_image(one, runtime.record.class_names)

    if rank_group.size == 1:
        found = results(lambda source, error: failed(source.name, error))
    else:
        found = gather_in_order(results, [entry.place for entry in media.known][: request.limit], rank_group, failed)
    total = media.total if request.limit is None else min(request.limit, media.total or request.limit)
    with (
        # A KeyboardInterrupt while a library holds a lock could leave threads waiting for ever.
        stop_on_signals(stop) if media.live else nullcontext(),
        closing(found),
        progress_bar("predict", total) as advance,
    ):
        images: Iterable[PredictedImage] = _counted(found, predicted, total, advance, keeps=media.is_finite)
        if rank_group.size > 1:
            images = list(images)  # written once all are known, so that no incomplete file looks complete
        with open_outputs(saves if rank_group.is_main else (), context, predicted.failed) as outputs:
            for image in images:
                for each in outputs:
                    each.add(image)
    if window is not None and not media.live:
        window.wait()


def _show(window: Window, one: Prediction, class_names: Sequence[str], stop: StopRequest) -> None:
    """Show an annotated image; a closed window ends a live source."""
    window.show(draw(one.image, one.detections, class_names, track_ids=one.track_ids))
    if not window.is_open:
        stop.ask()


def _counted(
    found: Iterator[PredictedImage], predicted: Predicted, total: int | None, advance: Advance, *, keeps: bool
) -> Iterator[PredictedImage]:
    """The images, while `predicted` counts, times and (keeps) collects them."""
    started = time.perf_counter()
    for image in found:
        if keeps:
            predicted.images.append(image)
        predicted.num_images += 1
        predicted.num_detections += len(image.detections)
        predicted.seconds = time.perf_counter() - started
        done = predicted.num_images + len(predicted.failed)
        advance(done, pace(done, total, predicted.seconds, "frames" if predicted.of_frames else "images"))
        yield image


def _predictions(
    runtime: Runtime,
    media: Media,
    request: PredictRequest,
    on_unreadable: Unreadable,
    stop: StopRequest | None = None,
    rank_group: RankGroup = SINGLE_RANK,
) -> Iterator[Prediction]:
    found = predict_images(
        detects_as(runtime, request),
        islice(_first(media.images(), request.limit, stop or StopRequest()), rank_group.rank, None, rank_group.size),
        num_readers=media.num_readers,
        live=media.live,
        on_unreadable=on_unreadable,
    )
    return track_objects(found, threshold=detector_of(runtime, request).score_threshold) if request.track else found


def _first(images: Iterator[ImageSource], limit: int | None, stop: StopRequest) -> Iterator[ImageSource]:
    """The first `limit` images, or those before a stop request; does not wait for another one."""
    for number, image in enumerate(images, start=1):
        yield image
        if number == limit or stop.asked:
            return


def _require_possible(runtime: Runtime, request: PredictRequest) -> None:
    """Raise what would fail on the first image, before the output folder is made."""
    if request.classes is not None:
        chosen_labels(request.classes, runtime.record.class_names)
    if request.track:
        require_tracker()


def _require_shareable(request: PredictRequest, media: Media) -> None:
    if not media.is_finite:
        raise SettingsError(
            f"devices: {request.source} contains videos or streams, which one process reads in order, or is a "
            "manifest; leave devices out; divide a manifest with --part",
            setting="devices",
            value=request.source,
        )
    if request.show:
        raise SettingsError("show: one process has the window; leave devices or show out", setting="show")
    if request.track:
        raise SettingsError("track: one process tracks objects from frame to frame; leave devices out", setting="track")


def as_text(predicted: Predicted) -> Iterator[str]:
    if predicted.parts is not None:
        yield from predicted.parts.lines()
        return
    yield from map(str, predicted.images)
    what = "frame" if predicted.of_frames else "image"
    rate = f"{predicted.num_images / max(predicted.seconds, 1e-9):.1f} {what}s/s in {predicted.seconds:.1f} s"
    if predicted.num_images or not predicted.failed:
        yield f"{counted(predicted.num_images, what)}, {counted(predicted.num_detections, 'detection')}, {rate}"
    num_empty = sum(not len(one.detections.scores) for one in predicted.images)  # frames are not kept
    lower = "a lower --threshold also shows those of low confidence"
    if predicted.num_images and not predicted.num_detections:
        yield f"no {what} has a detection; {lower}"
    elif 0 < len(predicted.images) <= 2 * num_empty:
        best = f"`{command('eval', '--store-thresholds')}` with labelled images finds and stores the best one"
        yield f"{num_empty:,} of {counted(len(predicted.images), what)} have no detection; {lower}; {best}"
    if predicted.failed:
        also = " and detections.json" if "json" in predicted.saves else ""
        yield f"could not be read: {len(predicted.failed):,}; see the messages above{also}"
    names = {
        "images": f"annotated {predicted.annotated}",
        "json": "detections.json, results.json",
        "jsonl": "detections.jsonl",
        "csv": "detections.csv",
        "yolo": f"{LABELS}/",
        "crops": f"{CROPS}/",
    }
    saves = predicted.saves if predicted.num_images else [word for word in predicted.saves if word not in PER_IMAGE]
    written = [names[word] for word in saves] + ([f"{PRE_LABELS}/"] if predicted.pre_labels else [])
    yield f"written: {predicted.output}: {', '.join(written)}"
