"""Options of `lookonce predict` and their help (--threshold, --part ...), and the detector that they describe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from lookonce.errors import SettingsError, require_fraction, require_setting
from lookonce.model.nms import MOST_CANDIDATES
from lookonce.prediction.class_filter import ClassFilter
from lookonce.prediction.media import Media
from lookonce.prediction.outputs import TEXT_OUTPUTS
from lookonce.prediction.predictor import Detects
from lookonce.prediction.sources import find_all_media
from lookonce.prediction.tiles import OVERLAP, TiledDetector
from lookonce.request import Listed, old_names
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.kinds import kind_of
from lookonce.settings.names import require_one_of, split_list
from lookonce.weights.pull import default_weights
from lookonce.workflows.detector_request import DetectorRequest

SAVES = ("images", *TEXT_OUTPUTS, "crops")
SAVE_ALIASES = {"pictures": "images"}  # an earlier name, which scripts may still use
SOURCE = "a path or URL; several images, or arrays: lookonce.load(WEIGHTS).predict(IMAGES)"
DEFAULT_SAVES = "images,json"
Engine = Literal["local", "ray"]
Labels = Literal["yolo", "coco", "voc", "labelme", "label-studio", "cvat"]


@old_names(pictures="images")
@dataclass(frozen=True, kw_only=True)
class PredictRequest(DetectorRequest):
    """Detect objects in images and videos; write annotated images and files with the detections.

    Images that cannot be read are reported and skipped; the exit status is then 1. With several devices, the images of
    a folder, pattern or list are distributed; the files stay the same.

    Parameters
    ----------
    source
        Image, video, folder (with its subfolders), pattern ("street/*.jpg"), camera index (0, 1 ...), screen, URL
        (http, https, rtsp ... or s3://), - for images from standard input, or a manifest: a .txt file with a path or
        URL per line, .parquet, shards.json, or the manifest.json of an S3 Inventory.
    more
        Further sources: images, videos, folders, patterns or lists.
    weights
        Exported file, checkpoint folder, run folder (its best), published weights such as coco, or MindSpore's .ckpt
        or Darknet's .weights. Default: coco, if it has been pulled.
    threshold
        Confidence threshold: minimum score of a detection, 0 to 1. Default: the value stored with the weights.
    output
        Folder to write into. Default: a new runs/predict-N.
    save
        Outputs, separated by commas: images, json, jsonl, csv, yolo, crops. json is detections.json and results.json
        (COCO format).
    as_labels
        Also write a data set of this format into OUTPUT/pre-labels, with the images and the detections as its labels,
        to correct in a labelling program.
    classes
        Classes to detect, by name or number, separated by commas: person,bicycle. Default: all.
    tile
        Tiled detection of small objects in large images: side of a tile in pixels, 32 or more. The detector also runs
        on the whole image. Default: no tiles.
    tile_overlap
        Overlap of neighbouring tiles as a fraction of their side, 0 to 0.9. Tiles do not cut objects up to that size.
    track
        Track objects across frames (ByteTrack) and give each a track ID.
    limit
        Maximum number of images or frames, 1 or more. Default: all; a camera or stream runs until Ctrl-C.
    follow_links
        Read images of a folder through symbolic links that lead out of it; without it they are refused.
    reconnect
        Attempts in a row to connect to a camera or stream that is not there, ends or breaks, 1, 2, 4 ... up to 30
        seconds apart; 0 ends there.
    show
        Show annotated images in a window, which Escape closes; a stream ends with it. Needs a display and tkinter.
    images
        Write annotated images; --no-images omits them, whatever --save lists.
    part
        Work through part K of N of a manifest, K/N with K from 1, or all/N: writes OUTPUT/part-K-of-N.jsonl, a line per
        image, and then a .json of this name with its SHA-256. OUTPUT may be s3://BUCKET/KEY. The files of all parts,
        one after another, are those of one process.
    resume
        With --part: keep parts that are complete, and continue one that was interrupted.
    engine
        local, or ray: distribute the parts of a manifest over a Ray cluster, all/N of --part.
    address
        Address of the Ray cluster, such as auto or ray://HOST:10001. Default: RAY_ADDRESS, or this machine alone.
    """

    source: Annotated[str, SOURCE] = field(kw_only=False)
    more: tuple[str, ...] = field(default=(), kw_only=False)
    weights: Path | None = None
    threshold: float | None = None
    output: Path | None = None
    save: Listed = DEFAULT_SAVES
    as_labels: Labels | None = None
    classes: Listed | None = None
    tile: int | None = None
    tile_overlap: float = OVERLAP
    track: bool = False
    limit: int | None = None
    follow_links: bool = False
    reconnect: int = 0
    show: bool = False
    images: bool = True
    part: str | None = None
    resume: bool = False
    engine: Engine = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction("threshold", self.threshold)
        _ = self.saves  # raises
        if self.as_labels is not None:
            require_one_of("as_labels", self.as_labels, get_args(Labels))
        require_one_of("engine", self.engine, get_args(Engine))
        if self.more and (self.part is not None or self.engine == "ray"):
            raise SettingsError.of("more", self.more[0], "--part and --engine ray take one manifest as their source")
        if self.resume and self.part is None and self.engine == "local":
            raise SettingsError("resume: expected with --part, of a manifest; add --part all/1", setting="resume")
        if self.address is not None and self.engine != "ray":
            raise SettingsError("address: expected with --engine ray", setting="address", value=self.address)
        require_setting("limit", self.limit, lambda number: number >= 1, "at least 1")
        require_setting("reconnect", self.reconnect, lambda number: number >= 0, "0 or more")
        require_setting("tile", self.tile, lambda side: side >= 32, "the side of a tile, 32 pixels or more")
        is_part, expected = (lambda part: 0 <= part <= 0.9), "a part of the tile from 0 to 0.9"
        require_setting("tile_overlap", self.tile_overlap, is_part, expected)

    def media(self) -> Media:
        needs_files = self.as_labels is not None
        sources = (self.source, *self.more)
        for place, named in enumerate(sources):  # `predict WEIGHTS IMAGE`; a run has drawn images in its folder
            if _is_weights(named) and (place > 0 or Path(named).is_file()):
                problem = "these are weights; expected images; name their option: --weights"
                raise SettingsError.of("more" if place else "source", named, problem)
        return find_all_media(sources, reconnect=self.reconnect, follow_links=self.follow_links, as_files=needs_files)

    @property
    def chosen_weights(self) -> Path:
        return self.weights or default_weights()

    @property
    def saves(self) -> list[str]:
        """The words of `save`, without `images` if --no-images is given."""
        words = [SAVE_ALIASES.get(word, word) for word in split_list(self.save.lower())]
        for word in words:
            require_one_of("save", word, SAVES, f"some of {','.join(SAVES)}")
        if not words:
            raise SettingsError(f"save: empty; expected some of {','.join(SAVES)}", setting="save")
        return [word for word in dict.fromkeys(words) if self.images or word != "images"]


def detects_as(runtime: Runtime, request: PredictRequest) -> Detects:
    """The detector with the thresholds, classes and tiles of a request."""
    detector = detector_of(runtime, request)
    detects: Detects = detector
    if request.tile is not None:
        detects = TiledDetector(
            detector,
            tile=request.tile,
            overlap=request.tile_overlap,
            iou_threshold=detector.iou_threshold,
            max_detections=detector.max_detections,
            agnostic=detector.agnostic,
        )
    if request.classes is None:
        return detects
    return ClassFilter(detects, runtime.record.class_names, request.classes, most_detections(detector, request))


def detector_of(runtime: Runtime, request: PredictRequest) -> Detector:
    all_kept = {} if request.classes is None else {"max_detections": MOST_CANDIDATES}  # ClassFilter limits their number
    return Detector(runtime, score_threshold=request.threshold, **request.selection | all_kept)


def most_detections(detector: Detector, request: PredictRequest) -> int:
    return request.max_detections or detector.record.thresholds.max_detections


def other_choices(request: PredictRequest) -> dict[str, Any]:
    """The options besides the thresholds, for detections.json."""
    tiles = {} if request.tile is None else {"tile": request.tile, "tile_overlap": request.tile_overlap}
    others = {"classes": request.classes, "image_size": request.image_size}
    return {name: value for name, value in others.items() if value is not None} | tiles


def _is_weights(source: str) -> bool:
    path = Path(source)
    try:
        is_folder = (path / "record.json").is_file() or (path / "checkpoints").is_dir()
        return is_folder or (path.is_file() and kind_of(path) != "checkpoint")  # "checkpoint": any other file
    except OSError:  # a name that is too long
        return False
