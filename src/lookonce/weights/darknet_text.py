"""Writes the .cfg of a record, and replaces the anchor masks in an existing one."""

import re
from collections.abc import Mapping, Sequence

from lookonce.settings.record import ModelRecord
from lookonce.weights.darknet_cfg import ACTIVATIONS, blocks, topology

MASK_LINE = re.compile(r"^(\s*mask\s*=\s*)([\d, \t]+)", re.MULTILINE)


def with_masks(text: str, masks: Sequence[tuple[int, ...]]) -> str:
    """The .cfg with other anchor masks, one for each [yolo] in order; a line whose mask stays is not touched."""
    left = iter(",".join(map(str, mask)) for mask in masks)

    def replaced(line: re.Match[str]) -> str:
        old = "".join(line[2].split())
        new = next(left, old)
        return line[0] if new == old else line[1] + new

    return MASK_LINE.sub(replaced, text)


def write_cfg(record: ModelRecord) -> str:
    """The .cfg of a record, for inference with Darknet; training options have Darknet's usual values."""
    height, width = record.image_size
    channels = dict(zip(blocks(len(record.masks)), record.channels, strict=True))
    layers = topology(record.channels, record.dialect.pool_edge)
    positions = {layer.place: index for index, layer in enumerate(layers) if layer.place}
    outputs = {
        f"head{stride}": len(mask) * (5 + record.num_classes)
        for stride, mask in zip(record.strides, record.masks, strict=True)
    }
    letter_box = int(record.preprocessing.resize == "letterbox")
    parts = [NET.format(width=width, height=height)]
    heads = iter(range(len(record.masks)))
    for layer in layers:
        if layer.kind == "yolo":
            parts.append(_yolo_text(record, next(heads), letter_box))
            continue
        options: dict[str, object] = dict(layer.options)
        if layer.kind == "convolutional":
            options |= {"batch_normalize": int(layer.is_block), "pad": 1}
            options["filters"] = channels.get(layer.place, outputs.get(layer.place))
            options["activation"] = DARKNET_NAMES[record.dialect.activation] if layer.is_block else "linear"
        if layer.sources:
            options["layers"] = ",".join(str(positions[place]) for place in layer.sources)
        parts.append(_section_text(layer.kind, options))
    return "\n".join(parts)


DARKNET_NAMES = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
NET = """\
[net]
batch=1
subdivisions=1
width={width}
height={height}
channels=3
momentum=0.9
decay=0.0005
angle=0
saturation=1.5
exposure=1.5
hue=.1
learning_rate=0.001
burn_in=1000
max_batches=500200
policy=steps
steps=400000,450000
scales=.1,.1
"""


def _yolo_text(record: ModelRecord, head: int, letter_box: int) -> str:
    scale = record.dialect.center_scales[record.strides[head]]
    options: dict[str, object] = {
        "mask": ",".join(map(str, record.masks[head])),
        "anchors": ", ".join(f"{width:.9g},{height:.9g}" for width, height in record.anchors),
        "classes": record.num_classes,
        "num": len(record.anchors),
        "jitter": ".3",
        "ignore_thresh": ".7",
        "truth_thresh": 1,
        "random": 1,
        **({"scale_x_y": f"{scale:.9g}"} if scale != 1 else {}),
        **({"letter_box": 1} if letter_box else {}),
    }
    return _section_text("yolo", options)


def _section_text(kind: str, options: Mapping[str, object]) -> str:
    return f"[{kind}]\n" + "".join(f"{name}={value}\n" for name, value in options.items())
