"""The one door to a trained network, whatever the path points at."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lookonce.config.record import ModelRecord
from lookonce.errors import WeightsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.storage import find_published
from lookonce.weights.checkpoint import MODEL_FILE, Checkpoint, load_checkpoint


def load_weights(path: Path) -> tuple[YoloV3Tiny, ModelRecord]:
    """The network on the CPU in evaluation mode, and what is needed to use it. path: see `find_checkpoint`."""
    checkpoint = open_checkpoint(path)
    model = model_from_record(checkpoint.record)
    load_state(model, checkpoint.state, str(checkpoint.folder / MODEL_FILE))
    return model.eval(), checkpoint.record


def open_checkpoint(path: Path) -> Checkpoint:
    return load_checkpoint(find_checkpoint(path))


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a checkpoint folder, a run folder (its best, else its last) or a model.safetensors."""
    path = Path(path)
    if path.name == MODEL_FILE:
        return path.parent
    candidates = (path, path / "checkpoints" / "best", path / "checkpoints" / "last")
    found = next((candidate for candidate in candidates if find_published(candidate) is not None), None)
    if found is not None:
        return found
    if not path.exists():
        raise WeightsError(
            f"{path}: no such file or folder; expected a run folder, a checkpoint folder or an exported file"
        )
    if path.is_file():
        raise WeightsError(
            f"{path}: not a checkpoint; `lookonce convert {path}` reads the weight files of other programs"
        )
    raise WeightsError(
        f"{path}: no checkpoint in it; expected a run folder (with checkpoints/best or checkpoints/last) "
        f"or a checkpoint folder (with {MODEL_FILE} and COMPLETE)"
    )


def model_from_record(record: ModelRecord) -> YoloV3Tiny:
    """The network a record describes, with whatever weights PyTorch gives it."""
    num_anchors_32, num_anchors_16 = (len(mask) for mask in record.masks)
    return YoloV3Tiny(
        record.num_classes,
        channels=record.channels,
        num_anchors=(num_anchors_32, num_anchors_16),
        activation=record.dialect.activation,
        batchnorm_eps=record.dialect.batchnorm_eps,
    )


def load_state(model: YoloV3Tiny, state: Mapping[str, Tensor], source: str) -> None:
    """Every array of the network from `state`, none missing, none left over, all of the right shape."""
    expected = model.state_dict()
    for name in expected.keys() | state.keys():
        require_array(name, expected, state, source)
    model.load_state_dict(dict(state))


def require_array(name: str, expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """WeightsError unless the array is in both, with one shape."""
    if name not in state:
        raise WeightsError(f"{source}: the network needs an array {name!r}, which is not in the file")
    if name not in expected:
        raise WeightsError(f"{source}: array {name!r} has no place in the network; is it of another network?")
    got, want = tuple(state[name].shape), tuple(expected[name].shape)
    if got != want:
        raise WeightsError(
            f"{source}: array {name!r} has shape {got}, the network needs {want}; "
            "the width, the classes or the anchors are not those it was trained with"
        )
