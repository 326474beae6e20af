"""Reads and writes Darknet's .cfg and .weights, byte for byte.

A .weights file is a header and little-endian float32 values: for each convolution of the .cfg, in order, beta, gamma,
mean, variance (with BatchNorm) or bias, then the weights (out, in, k, k). It does not identify its network, so its size
must match the .cfg exactly, or the .cfg cut after some convolution: such files (yolov3-tiny.conv.15) are pretrained
backbones.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lookonce.errors import SettingsError, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.storage import read_regular_file, sha256_file
from lookonce.weights.convolutions import (
    BATCH_COUNTER,
    HEAD_ARRAYS,
    NORMALISED_ARRAYS,
    Convolution,
    convolutions,
    require_finite,
    with_epsilon,
)
from lookonce.weights.darknet_cfg import (
    STANDARD_RECORD,
    lines_without_value,
    merged_convolutions,
    read_cfg,
    wants_letterbox,
)
from lookonce.weights.darknet_text import with_masks, write_cfg
from lookonce.weights.foreign import ForeignWeights, Masks, ReadOptions, named_classes
from lookonce.weights.published import PUBLISHED

Floats = np.ndarray[tuple[int], np.dtype[np.float32]]

FLOAT_BYTES = 4
BACKBONE_CONVOLUTIONS = 7
# The order of a convolution's arrays in the file.
NORMALISED_ORDER = ("beta", "gamma", "mean", "variance", "weight")
HEAD_ORDER = ("bias", "weight")
# yolov3-tiny.weights as released for COCO: its stride-16 head was trained with anchors 1, 2, 3, but every published cfg
# has mask=0,1,2. With that mask AP50 falls from 33 to 16-21.
RELEASED_COCO_SHA256 = PUBLISHED["coco"].content.sha256
PUBLISHED_MASK, TRAINED_MASK = (0, 1, 2), (1, 2, 3)
HEAD_16 = 1
# Version that AlexeyAB's program writes; pjreddie's writes revision 0. From 0.2 on, `seen` has eight bytes.
ALEXEYAB = (0, 2, 5)
PAD_VALUE = 128  # both programs pad a letterbox with 0.5
PLAIN = Preprocessing()
ORIGIN = "darknet"  # key in the record's settings for the .cfg and the header


@dataclass(frozen=True, kw_only=True)
class Header:
    """version: major, minor, revision of the format. seen: number of images seen in training."""

    version: tuple[int, int, int]
    seen: int

    @property
    def seen_format(self) -> str:
        major, minor, _ = self.version
        return "<Q" if major * 10 + minor >= 2 and major < 1000 and minor < 1000 else "<I"

    def to_bytes(self) -> bytes:
        return struct.pack("<3i", *self.version) + struct.pack(self.seen_format, self.seen)

    @property
    def num_bytes(self) -> int:
        return len(self.to_bytes())


def read_darknet(cfg: Path | None, weights: Path, options: ReadOptions) -> ForeignWeights:
    """A network, or a backbone if the file ends early. Without a .cfg only backbones of yolov3-tiny.cfg are read."""
    source = str(weights)
    header, floats = read_weights(weights)
    try:
        # Darknet looks at bytes, and a comment may be in any encoding.
        text = "" if cfg is None else read_regular_file(cfg).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise WeightsError.at(str(cfg), f"cannot be read as a Darknet .cfg ({error})") from error
    record = STANDARD_RECORD if cfg is None else read_cfg(text, str(cfg), options.image_size)
    merged = set() if cfg is None else merged_convolutions(text, str(cfg))
    wanted = [replace(one, normalised=one.normalised and one.name not in merged) for one in convolutions(record)]
    kept = _reached(wanted, len(floats), source, cfg)
    is_backbone = kept < len(wanted)
    state = _with_norms(dict(_split(wanted[:kept], floats)), merged, record.dialect.batchnorm_eps)
    require_finite(state, source)
    version = ".".join(map(str, header.version))
    seen = f", {header.seen:,} images seen in training" if header.seen else ""  # an image counts in every epoch
    notes = [f"Darknet {version}, {len(floats):,} parameters{seen}"]
    assumed, warnings = list[str](), list[str]()
    if merged:
        notes.append(f"BatchNorm is merged into {len(merged)} convolutions; it gets statistics that change nothing")
    if is_backbone:
        notes.append(f"backbone only ({kept} of {len(wanted)} convolutions), for `lookonce train --backbone-weights`")
        record = record.model_copy(update={"class_names": (), "category_ids": ()})
    else:
        classes, more = named_classes(record.num_classes, options.class_names, source)
        assumed += more
        masks, warnings = choose_masks(record.masks, options.masks, sha256_file(weights), len(record.anchors))
        record = record.model_copy(update={**classes, "masks": masks})
    if cfg is not None and (lines := lines_without_value(text, str(cfg))):
        warnings.append(f"{cfg}: {lines[0][:60]!r} is no option=value and is ignored, as in Darknet")
    resize = options.resize
    if resize == "auto":  # AlexeyAB's program stretches, unless the .cfg has letter_box=1; pjreddie's letterboxes
        letterboxes = header.version < ALEXEYAB or (cfg is not None and wants_letterbox(text, str(cfg)))
        resize = "letterbox" if letterboxes else "stretch"
    assumed.append(f"images are {RESIZED[resize]}; change this with --resize")
    origin = {"cfg": text, "version": header.version, "seen": header.seen}
    update = {"preprocessing": Preprocessing(resize=resize, pad_value=PAD_VALUE), "settings": {ORIGIN: origin}}
    record = record.model_copy(update=update)
    return ForeignWeights(
        state=state,
        record=record,
        notes=tuple(notes),
        assumed=tuple(assumed),
        warnings=tuple(warnings),
        is_backbone=is_backbone,
    )


RESIZED = {"letterbox": "letterboxed, as pjreddie's program does", "stretch": "stretched, as AlexeyAB's program does"}


def read_weights(path: Path) -> tuple[Header, Floats]:
    """The header and the values after it; memory use is about the size of the file."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
            version = struct.unpack("<3i", start) if len(start) == 12 else (-1, 0, 0)
            header = Header(version=(version[0], version[1], version[2]), seen=0)
            seen = file.read(struct.calcsize(header.seen_format))
            if not is_version(header.version) or len(seen) < struct.calcsize(header.seen_format):
                raise WeightsError.at(
                    path,
                    f"not a Darknet .weights file: version {'.'.join(map(str, version))} in its header; expected 0.1 "
                    "or 0.2, then the number of images seen",
                )
            body = file.read()
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror})") from error
    if len(body) % FLOAT_BYTES:
        raise WeightsError.at(
            path, f"{len(body):,} bytes after the header; expected a multiple of {FLOAT_BYTES}; is it truncated?"
        )
    header = Header(version=header.version, seen=struct.unpack(header.seen_format, seen)[0])
    return header, np.frombuffer(body, "<f4").astype(np.float32, copy=False)


def is_darknet_weights(start: bytes) -> bool:
    """Whether a file with these first bytes is a .weights file."""
    return len(start) >= 12 and is_version(struct.unpack("<3i", start[:12]))


def is_version(version: Sequence[int]) -> bool:
    """Whether this is a version of the format that some Darknet writes."""
    return version[0] == 0 and 1 <= version[1] <= 2 and 0 <= version[2] <= 9


def choose_masks(
    masks: tuple[tuple[int, ...], ...], wanted: Masks, sha256: str, num_anchors: int
) -> tuple[tuple[tuple[int, ...], ...], list[str]]:
    """The anchor mask of each head, and warnings. wanted: mask of the stride-16 head."""
    if wanted == "cfg":
        return masks, []
    if wanted == "auto":
        if sha256 != RELEASED_COCO_SHA256 or masks[HEAD_16] != PUBLISHED_MASK:
            return masks, []
        warning = (
            "these are the weights released for COCO: their stride-16 head was trained with mask=1,2,3, not with 0,1,2 "
            "as in the .cfg, which would make all its boxes too small; using 1,2,3 (--mask cfg uses the .cfg's)"
        )
        return (masks[0], TRAINED_MASK, *masks[2:]), [warning]
    if len(wanted) != len(masks[HEAD_16]):
        expected = f"expected {len(masks[HEAD_16])}, one for each anchor of the stride-16 head"
        raise SettingsError.of("mask", f"{len(wanted)} numbers", expected)
    if max(wanted) >= num_anchors or len(set(wanted)) != len(wanted):
        problem = f"mask: {','.join(map(str, wanted))}; expected distinct rows of the {num_anchors} anchors, from 0"
        raise SettingsError(problem, setting="mask", value=wanted)
    return (masks[0], wanted, *masks[2:]), []


def other_masks(record: ModelRecord) -> tuple[tuple[int, ...], ...] | None:
    """Alternative masks for a network from Darknet: those of its .cfg; if equal, shifted by one anchor."""
    text = record.settings.get(ORIGIN, {}).get("cfg", "")
    own = read_cfg(text, "the .cfg in the record", record.image_size).masks if text else record.masks
    if own != record.masks:
        return own
    moved = tuple(row + 1 for row in own[HEAD_16])
    return (own[0], moved, *own[2:]) if max(moved) < len(record.anchors) else None


def _reached(wanted: Sequence[Convolution], count: int, source: str, cfg: Path | None) -> int:
    """Number of convolutions that `count` values fill exactly; at least the backbone, else WeightsError."""
    ends = np.cumsum([sum(math.prod(shape) for _, shape in one.arrays.values()) for one in wanted])
    kept = int(np.searchsorted(ends, count))
    fits = kept < len(wanted) and ends[kept] == count and kept + 1 >= BACKBONE_CONVOLUTIONS
    if fits and (cfg is not None or kept + 1 < len(wanted)):
        return kept + 1
    if cfg is None:
        problem = "a .weights file needs its .cfg; put it in the same folder under the same name (`convert` takes both)"
        raise WeightsError.at(source, problem)
    where = f"ends inside {wanted[kept].name}" if kept < len(wanted) else "continues after the last convolution"
    raise WeightsError.at(
        source,
        f"has {count:,} values and {where}; expected {ends[-1]:,} for {cfg}; check that this is the .cfg it was "
        "trained with (classes, filters), and that the file is not truncated",
    )


def _split(wanted: Sequence[Convolution], floats: Floats) -> Iterator[tuple[str, Tensor]]:
    """Yields name and array of all arrays of the convolutions, in the file's order."""
    at = 0
    for one in wanted:
        for name, shape in _in_file_order(one):
            count = math.prod(shape)
            yield name, torch.from_numpy(floats[at : at + count].copy()).view(shape)
            at += count
        yield from one.counter().items()


def _with_norms(state: Mapping[str, Tensor], merged: Set[str], epsilon: float) -> dict[str, Tensor]:
    """The state with a BatchNorm after each merged convolution, whose bias becomes its beta."""
    found = dict(state)
    for name in merged:
        bias = found.pop(f"{name}.{HEAD_ARRAYS['bias']}", None)
        if bias is None:  # a backbone that ends before
            continue
        one, zero = torch.ones_like(bias), torch.zeros_like(bias)
        arrays = {"beta": bias, "gamma": one, "mean": zero, "variance": one - epsilon}
        arrays["weight"] = found.pop(f"{name}.{HEAD_ARRAYS['weight']}")
        found |= {f"{name}.{NORMALISED_ARRAYS[role]}": array for role, array in arrays.items()}
        found[f"{name}.{BATCH_COUNTER}"] = torch.tensor(0)
    return found


def _in_file_order(one: Convolution) -> list[tuple[str, tuple[int, ...]]]:
    return [one.arrays[role] for role in (NORMALISED_ORDER if one.normalised else HEAD_ORDER)]


def to_darknet(record: ModelRecord, state: dict[str, Tensor], source: str) -> dict[str, bytes]:
    """suffix -> content of the three files; WeightsError when Darknet cannot express the network.

    Weights that came from Darknet are restored byte for byte, also the .cfg unless it contradicts the record.
    """
    _require_darknets_arithmetic(record, source)
    state = with_epsilon(state, record.dialect.batchnorm_eps, DIALECTS["darknet"].batchnorm_eps, source)
    origin = record.settings.get(ORIGIN, {})
    header = Header(version=tuple(origin.get("version", ALEXEYAB)), seen=origin.get("seen", 0))
    arrays = [state[name] for one in convolutions(record) for name, _ in _in_file_order(one)]
    floats = b"".join(array.numpy().astype("<f4").tobytes() for array in arrays)
    names = "".join(f"{name}\n" for name in record.class_names)
    return {
        ".cfg": _cfg_text(record, origin.get("cfg", "")).encode(),
        ".weights": header.to_bytes() + floats,
        ".names": names.encode(),
    }


def _cfg_text(record: ModelRecord, original: str) -> str:
    """The .cfg the record came from, with the record's masks, if all else agrees with the record; else a new one."""
    if not original:
        return write_cfg(record)
    same = ("channels", "masks", "anchors", "image_size", "num_classes", "dialect")
    try:
        if merged_convolutions(original, "the .cfg in the record"):  # the arrays have BatchNorm
            return write_cfg(record)
        for text in (original, with_masks(original, record.masks)):
            stored = read_cfg(text, "the .cfg in the record")
            if all(getattr(stored, name) == getattr(record, name) for name in same):
                return text
    except WeightsError:  # an invalid input size, replaced by --image-size
        pass
    return write_cfg(record)


def _require_darknets_arithmetic(record: ModelRecord, source: str) -> None:
    dialect, preprocessing = record.dialect, record.preprocessing
    needs = {
        f"size rule {dialect.size_rule}": dialect.size_rule == "exp",
        f"pool edge {dialect.pool_edge}": dialect.pool_edge in {"repeat", "none"},
        f"mean {preprocessing.mean} and std {preprocessing.std}": (
            (preprocessing.mean, preprocessing.std) == (PLAIN.mean, PLAIN.std)
        ),
        f"colour order {preprocessing.color_order}": preprocessing.color_order == "RGB",
    }
    for what, fine in needs.items():
        if not fine:
            raise WeightsError.at(
                source,
                f"trained with {what} (dialect {dialect.name}), which a Darknet .cfg cannot express; train with "
                "--dialect darknet --normalize unit for files that Darknet runs, or export to ONNX",
            )
