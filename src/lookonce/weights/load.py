"""Loads trained weights from any path: our checkpoints by their location, other programs' files by their content."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from lookonce.errors import LookonceError, SettingsError, WeightsError
from lookonce.log import get_logger
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.remote.local_copy import local_file
from lookonce.settings.names import counted
from lookonce.settings.record import MODEL_FILE, ModelRecord, parse_record, problem_of
from lookonce.shown import command
from lookonce.storage import read_regular_file, require_content
from lookonce.weights.beside import record_file, with_record_beside
from lookonce.weights.checkpoint import Checkpoint, load_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.darknet import is_darknet_weights, read_darknet
from lookonce.weights.foreign import ForeignWeights, ReadOptions, read_names
from lookonce.weights.mindspore import read_mindspore
from lookonce.weights.pull import find_checkpoint, find_weights, weights_folder
from lookonce.weights.ultralytics import read_ultralytics

HEADS = ("head32.", "head16.", "head8.")
# First bytes of files of other programs.
ZIP, PICKLE, PROTOCOL_BUFFER = b"PK\x03\x04", b"\x80", b"\n"
HEAD_BYTES = 4096


def load_weights(path: Path, names: Path | None = None) -> tuple[YoloV3Tiny, ModelRecord]:
    """The network on the CPU in evaluation mode, and its record. path, names: see `open_checkpoint`."""
    checkpoint = open_checkpoint(path, names)
    if checkpoint.state and not any(name.startswith(HEADS) for name in checkpoint.state):
        raise WeightsError.at(
            checkpoint.folder,
            "a backbone without detection heads; expected a full network; train one from it with `lookonce train "
            f"--backbone-weights {checkpoint.folder}`",
        )
    model = model_from_record(checkpoint.record)
    load_state(model, checkpoint.state, str(checkpoint.folder / MODEL_FILE))
    return model.eval(), checkpoint.record


def open_checkpoint(path: Path, names: Path | None = None, *, rename: bool = False) -> Checkpoint:
    """A checkpoint of lookonce (see `find_checkpoint`) or a file of another program, whose assumed facts are logged.

    names: file with class names, one per line. For weights that hold their own names it replaces them by position with
    `rename`, and is a SettingsError without.
    """
    path = find_weights(path)
    if path.is_file() and not is_checkpoint(path):
        return _of_another_program(path, names)
    if names is not None and rename:
        checkpoint, new = load_checkpoint(find_checkpoint(path)), read_names(local_file(names))
        if len(new) != (expected := checkpoint.record.num_classes):
            problem = f"{counted(len(new), 'name')}; expected {expected}, one per line for each class of {path}"
            raise SettingsError.of("names", names, problem, path=path)
        record = checkpoint.record.model_copy(update={"class_names": new, "names_known": True})
        return replace(checkpoint, record=record)
    if names is not None:
        raise SettingsError.of("names", names, f"{path} already holds its class names; omit --names", path=path)
    return load_checkpoint(find_checkpoint(path))


def _of_another_program(path: Path, names: Path | None) -> Checkpoint:
    """Reads a file as `lookonce convert` does, with the .cfg, .names and record of the same name beside it."""
    if foreign_kind(path) == ULTRALYTICS_PT:
        first = command("convert", path, "--output", weights_folder() / path.stem)
        raise WeightsError.at(path, f"holds pickled objects; convert it first with `{first}`")
    lists = [local_file(names)] if names else [] if record_file(path).is_file() else _beside(path, ".names")
    read = read_foreign([path], ReadOptions(class_names=tuple(name for file in lists for name in read_names(file))))
    for words in read.notes:
        get_logger().info(f"{path}: {words}")
    options = (
        (f"if an assumption is wrong, set it with the options of `lookonce convert {path}`",) if read.assumed else ()
    )
    for words in (*read.assumed, *read.warnings, *options):
        get_logger().warning(f"{path}: {words}")
    return Checkpoint(folder=path, state=read.state, record=read.record, training=None)


def _beside(path: Path, ending: str) -> list[Path]:
    found = path.with_suffix(ending)
    return [found] if found != path and found.is_file() else []


def is_checkpoint(path: Path) -> bool:
    """Whether the path may be a checkpoint of lookonce, for `find_checkpoint`."""
    return path.is_dir() or path.name == MODEL_FILE


def read_foreign(files: Sequence[Path], options: ReadOptions) -> ForeignWeights:
    """Weights of another program, detected by content, not by name, with the record beside them. Of Darknet's two
    files one is enough if the other has its name."""
    kinds: dict[str, Path] = {}
    if len(files) == 1:
        files = [*files, *_beside(files[0], PARTNERS.get(foreign_kind(files[0]), files[0].suffix))]
    for path in files:
        kind = foreign_kind(path)
        if kind in kinds:
            raise WeightsError(
                f"{kinds[kind]} and {path}: two files of kind {kind}; convert one network at a time", path=kinds[kind]
            )
        kinds[kind] = path
    cfg = kinds.pop(DARKNET_CFG, None) if kinds.keys() <= {DARKNET_CFG, DARKNET_WEIGHTS} else None
    if cfg is not None and not kinds:
        raise WeightsError.at(cfg, "a .cfg contains no weights; name the .weights file too")
    if len(kinds) > 1:
        listed = ", ".join(f"{path} ({kind})" for kind, path in kinds.items())
        raise WeightsError(f"{listed}: files of different programs; convert one network at a time")
    ((kind, path),) = kinds.items()
    readers = {MINDSPORE_CKPT: read_mindspore, ULTRALYTICS_PT: read_ultralytics}
    try:
        read = readers.get(kind, partial(read_darknet, cfg))(path, options)
        parse_record(read.record.model_dump_json(), can_be_backbone=True)  # a checkpoint of it can be read
    except ValueError as error:
        if isinstance(error, LookonceError):
            raise
        raise WeightsError.at(cfg or path, f"{problem_of(error)}; expected weights of YOLOv3-Tiny") from error
    return with_record_beside(read, path, options)


DARKNET_CFG, DARKNET_WEIGHTS = "Darknet .cfg", "Darknet .weights file"
MINDSPORE_CKPT, ULTRALYTICS_PT = "MindSpore .ckpt", "PyTorch .pt"
PARTNERS = {DARKNET_CFG: ".weights", DARKNET_WEIGHTS: ".cfg"}  # suffix of the other file that each needs


def foreign_kind(path: Path) -> str:
    """The kind of a weights file, by its first bytes; WeightsError for an unsupported one."""
    require_content(path, WeightsError)
    try:
        start = read_regular_file(path, HEAD_BYTES)
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror}); expected {EXPECTED}") from error
    if is_darknet_weights(start):
        return DARKNET_WEIGHTS
    if b"\0" not in start and b"[net" in start.replace(b" ", b""):
        return DARKNET_CFG
    if start.startswith((ZIP, PICKLE)):
        return ULTRALYTICS_PT
    if start.startswith(PROTOCOL_BUFFER):
        return MINDSPORE_CKPT
    problem = f"unsupported weights file; expected {EXPECTED}; of an exported file or an engine (.onnx, .engine ...), "
    raise WeightsError.at(path, problem + "name the run or checkpoint that it was made from")


EXPECTED = "Darknet's .cfg and .weights, MindSpore's .ckpt, Ultralytics' .pt, or a checkpoint folder of lookonce"


def load_state(model: YoloV3Tiny, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into the network; WeightsError if an array is missing, left over or of another shape."""
    expected = model.state_dict()
    for name in expected.keys() | state.keys():
        require_array(name, expected, state, source)
    model.load_state_dict(dict(state))


def require_array(name: str, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """WeightsError unless the array is in both, with one shape."""
    if name not in state:
        raise WeightsError.at(source, f"array {name!r} is missing; the network needs it", value=name)
    if name not in expected:
        raise WeightsError.at(
            source, f"array {name!r} is not in the network; expected weights of this network", value=name
        )
    got, want = tuple(state[name].shape), tuple(expected[name].shape)
    if got != want:
        raise WeightsError.at(
            source,
            f"array {name!r} has shape {got}; expected {want}; use the width, classes and anchors that the weights "
            "were trained with",
            value=name,
        )
