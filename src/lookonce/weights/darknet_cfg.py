"""Parses Darknet's .cfg into a record; `darknet_text` writes the .cfg of a record.

Supported are YOLOv3-Tiny as in yolov3-tiny.cfg, with three heads as in yolov3-tiny_3l.cfg, without one or both of the
convolutions between backbone and first head, and without the stride-1 pool. Any other layer is an error that names it;
there is no interpreter for arbitrary networks. Layers are counted from 0 after [net], as in Darknet.

The text is read as by Darknet's read_cfg and option_list.c: a number is the beginning of a value, a line without = is
an option that nobody asks for, and each [yolo] has its own anchors.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lookonce.errors import WeightsError
from lookonce.model.layers import steps_of
from lookonce.settings.dialects import DIALECTS, Activation, Dialect, PoolEdge
from lookonce.settings.image_size import LARGEST_SIDE, STRIDE, ImageSize, size_hw
from lookonce.settings.record import FULL_CHANNELS, ModelRecord
from lookonce.weights.foreign import MOST_CLASSES, num_classes_of

MOST_CHARACTERS = 1_000_000
MOST_FILTERS = 65_536
ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool"}
ACTIVATIONS: dict[str, Activation] = {"leaky": "leaky", "relu": "relu", "swish": "silu"}
INTEGER = re.compile(r"[-+]?\d{1,10}(?!\d)")
DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
STRIDES = (32, 16, 8)
# Darknet's defaults for options that a cfg omits (parser.c).
DEFAULTS: dict[str, dict[str, int]] = {
    "convolutional": {"size": 1, "stride": 1, "batch_normalize": 0},
    "maxpool": {"size": 1, "stride": 1},
    "upsample": {"stride": 2},
    "route": {},
}
# Options that change the arithmetic, unless they have these values.
PLAIN: dict[str, dict[str, float]] = {
    "convolutional": {
        "groups": 1,
        "dilation": 1,
        "antialiasing": 0,
        "binary": 0,
        "xnor": 0,
        "flipped": 0,
        "stride_x": 1,
        "stride_y": 1,
        "share_index": -1000000000,
    },
    "maxpool": {"padding": 1, "maxpool_depth": 0, "antialiasing": 0},
    "upsample": {"scale": 1},
    "route": {"groups": 1, "stream": 0},
    "yolo": {"new_coords": 0},
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """[kind] at a line of the file, with its options as text; of repeated options the first counts, as in Darknet.

    A line without = is an option without a value, which then has its default. source: the file's name in errors.
    """

    kind: str
    source: str
    line: int
    options: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str) -> str:
        return self.options.get(name) or default

    def number(self, name: str, default: int) -> int:
        return self.whole(name, self.get(name, str(default)))

    def whole(self, name: str, text: str) -> int:
        """`text`, which is a part of option `name`, as an integer."""
        number = INTEGER.match(text)  # as atoi, but "many" is an error and not 0
        if number is None:
            raise self.error(name, text, "an integer")
        return int(number[0])

    def decimal(self, name: str, text: str) -> float:
        number = DECIMAL.match(text)
        value = float(number[0]) if number else float("nan")
        if not -1e6 < value < 1e6:
            raise self.error(name, text, "a number from -1e6 to 1e6")
        return value

    def error(self, name: str, value: str | int, expected: str) -> WeightsError:
        return WeightsError(
            f"{self.source} line {self.line}: {name}={str(value)[:60]}; expected {expected}",
            path=self.source,
            line=self.line,
            setting=name,
            value=value,
        )


@dataclass(frozen=True, kw_only=True)
class CfgSection:
    """One layer of YOLOv3-Tiny. place: its name in our network; sources: the places that a route concatenates."""

    kind: str
    options: Mapping[str, int] = field(default_factory=dict)
    place: str = ""
    sources: tuple[str, ...] = ()

    @property
    def is_block(self) -> bool:
        """Whether it is a convolution with BatchNorm and activation, i.e. none of a head."""
        return self.kind == "convolutional" and not self.place.startswith("head")


def read_cfg(text: str, source: str, image_size: ImageSize | None = None) -> ModelRecord:
    """The record of the network a .cfg describes; class names are numbers. `source` is the file's name in errors.

    image_size replaces the file's own; anchors are not rescaled: they are pixels of the network input, as in Darknet.
    """
    net, *sections = parse(text, source)
    if net.number("channels", 3) != 3:
        raise net.error("channels", net.options["channels"], "3 (red, green, blue)")
    layers = _matching_topology(sections, source)
    places = {layer.place: section for layer, section in zip(layers, sections, strict=True) if layer.place}
    heads = [section for section in sections if section.kind == "yolo"]
    anchors, masks, num_classes = _read_heads(heads, places)
    names = tuple(str(number) for number in range(num_classes))
    return ModelRecord(
        dialect=_read_dialect(heads, places, layers, source),
        channels=tuple(_filters(places[place]) if place in places else 0 for place in blocks(len(heads))),
        class_names=names,
        category_ids=tuple(range(1, num_classes + 1)),
        strides=STRIDES[: len(heads)],
        anchors=anchors,
        masks=masks,
        image_size=size_hw(image_size or (_side(net, "height"), _side(net, "width"))),
    )


def wants_letterbox(text: str, source: str) -> bool:
    """Whether a [yolo] section has letter_box=1, an option of AlexeyAB's program."""
    return any(section.get("letter_box", "0") != "0" for section in parse(text, source))


def merged_convolutions(text: str, source: str) -> set[str]:
    """Names of the convolutions before the heads that have no BatchNorm: it was folded into weights and biases."""
    _, *sections = parse(text, source)
    return {
        layer.place
        for layer, section in zip(_matching_topology(sections, source), sections, strict=True)
        if layer.is_block and not section.number("batch_normalize", 0)
    }


def lines_without_value(text: str, source: str) -> list[str]:
    """Lines that are neither a comment nor option=value; Darknet reads and ignores them."""
    return [line for section in parse(text, source) for line, value in section.options.items() if not value]


def parse(text: str, source: str) -> list[Section]:
    """The sections of a file, [net] first. Whitespace is ignored everywhere, as in Darknet."""
    if len(text) > MOST_CHARACTERS:
        raise WeightsError.at(
            source, f"{len(text):,} characters; expected a Darknet .cfg of at most {MOST_CHARACTERS:,}"
        )
    sections: list[Section] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = "".join(line.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            kind = line.strip("[]").lower()
            sections.append(Section(kind=ALIASES.get(kind, kind), source=source, line=number))
            continue
        if not sections:
            raise WeightsError(f"{source} line {number}: {line[:60]!r}; expected [net]", path=source, line=number)
        key, equals, value = line.partition("=")
        if not equals or value:  # Darknet passes over "key="
            sections[-1].options.setdefault(key, value.partition("#")[0])
    if not sections or sections[0].kind != "net":
        raise WeightsError.at(source, "does not start with [net]; expected a Darknet .cfg")
    return sections


KINDS = {"conv": "convolutional", "max pool": "maxpool", "upsample": "upsample", "concat": "route"}


def topology(channels: Sequence[int], pool_edge: PoolEdge) -> tuple[CfgSection, ...]:
    """The layers of one variant of YOLOv3-Tiny, in file order: the network's steps, and what a .cfg has beside them.

    That is a [yolo] after each head, and a [route] before the next convolution, back to the layer that it reads.
    """
    layers: list[CfgSection] = []
    places: dict[str, str] = {}
    for step in steps_of(channels, 1, (STRIDE, STRIDE), pool_edge=pool_edge):
        kind, place = KINDS[step.kind], step.module or step.name
        places[step.name] = place
        sources = tuple(places[name] for name in step.inputs if name in places)
        if layers and layers[-1].kind == "yolo":
            layers.append(CfgSection(kind="route", sources=sources))
        known = {"size": step.kernel, "stride": step.stride, "batch_normalize": 0}
        options = {name: known[name] for name in DEFAULTS[kind] if name != "batch_normalize" or not step.activation}
        layers.append(CfgSection(kind=kind, options=options, place=place, sources=sources if kind == "route" else ()))
        if place.startswith("head"):
            layers.append(CfgSection(kind="yolo"))
    return tuple(layers)


POOL_EDGES: tuple[PoolEdge, ...] = ("repeat", "none")
# Every variant: with two heads or three, with or without the convolutions before the first head and the pool.
TOPOLOGIES = tuple(
    topology((*[1] * 7, neck7, neck8, *[1] * more), pool_edge)
    for more, neck7, neck8, pool_edge in itertools.product((2, 4), (1, 0), (1, 0), POOL_EDGES)
)


def _matching_topology(sections: Sequence[Section], source: str) -> tuple[CfgSection, ...]:
    """The variant of YOLOv3-Tiny of these sections; WeightsError names the first layer that fits no variant."""
    reached = [(_first_difference(sections, layers), layers) for layers in TOPOLOGIES]
    for (_, difference), layers in reached:
        if not difference:
            return layers
    index, difference = max((difference for difference, _ in reached), key=lambda one: one[0])
    where = f"layer {index}" if index < len(sections) else f"after layer {len(sections) - 1}"
    raise WeightsError.at(
        source,
        f"{where}: {difference}; only YOLOv3-Tiny is supported: as in yolov3-tiny.cfg, without the convolutions "
        "before the first head or the stride-1 pool, or with three heads as in yolov3-tiny_3l.cfg",
    )


def _first_difference(sections: Sequence[Section], layers: Sequence[CfgSection]) -> tuple[int, str]:
    """Index and description of the first layer that differs; the description is empty when none does."""
    positions = {layer.place: index for index, layer in enumerate(layers) if layer.place}
    for index, layer in enumerate(layers):
        if index >= len(sections):
            return index, f"the file ends, expected [{layer.kind}]"
        difference = _difference(sections[index], layer, index, positions)
        if difference:
            return index, difference
    if len(sections) > len(layers):
        extra = sections[len(layers)]
        return len(layers), f"[{extra.kind}] (line {extra.line}): expected the end of the file"
    return len(layers), ""


def _difference(section: Section, layer: CfgSection, index: int, positions: Mapping[str, int]) -> str:
    here = f"[{section.kind}] (line {section.line})"
    if section.kind != layer.kind:
        return f"{here}: expected [{layer.kind}]"
    for name, wanted in layer.options.items():
        default = DEFAULTS[layer.kind][name]
        if (layer.kind, name) == ("maxpool", "size"):  # as the stride
            default = section.number("stride", default)
        value = section.number(name, default)
        if value != wanted:
            return f"{here}: {name}={value}; expected {wanted}"
    for name, plain in PLAIN.get(layer.kind, {}).items():
        number = DECIMAL.match(section.get(name, str(plain)))
        if number is None or float(number[0]) != plain:
            return f"{here}: {name}={section.options[name]}; expected {plain}, the default"
    if layer.kind == "convolutional":
        return _convolution_difference(section, layer, here)
    if layer.kind == "route":
        given = [section.whole("layers", text) for text in section.get("layers", "").split(",") if text]
        absolute = [number if number >= 0 else index + number for number in given]
        wanted_layers = [positions[place] for place in layer.sources]
        if absolute != wanted_layers:
            return f"{here}: concatenates layers {absolute}; expected {wanted_layers}"
    return ""


def _convolution_difference(section: Section, layer: CfgSection, here: str) -> str:
    activation = section.get("activation", "logistic")
    if layer.is_block and activation not in ACTIVATIONS:
        return f"{here}: activation={activation}; expected {' or '.join(ACTIVATIONS)}"
    if not layer.is_block and activation != "linear":
        return f"{here}: activation={activation}; expected linear before [yolo]"
    size = section.number("size", 1)
    padding = size // 2 if section.number("pad", 0) else section.number("padding", 0)
    return "" if padding == size // 2 else f"{here}: padding {padding}; expected {size // 2}, set by pad=1"


def blocks(num_heads: int) -> list[str]:
    """The convolutions with BatchNorm, in the order of a record's channels."""
    names = [f"backbone.conv{index}" for index in range(7)] + ["neck7", "neck8", "lateral9", "neck10"]
    return names + (["lateral11", "neck12"] if num_heads == 3 else [])


def _read_heads(
    heads: Sequence[Section], places: Mapping[str, Section]
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[int, ...], ...], int]:
    """Anchors, the mask of each head (rows of the anchors), and the number of classes."""
    lists = [_read_anchors(section) for section in heads]
    masks: list[tuple[int, ...]] = []
    num_classes = heads[0].number("classes", 20)
    for section, stride, anchors in zip(heads, STRIDES, lists, strict=False):
        if (other := section.number("classes", 20)) != num_classes:
            raise section.error("classes", other, f"{num_classes}, as in the [yolo] of line {heads[0].line}")
        mask = _read_mask(section, len(anchors))
        convolution = places[f"head{stride}"]
        filters = _filters(convolution)
        if num_classes_of(filters, len(mask), f"{section.source} line {convolution.line}") != num_classes:
            wanted = f"{len(mask) * (5 + num_classes)} for {len(mask)} anchors and classes={num_classes}"
            raise convolution.error("filters", filters, wanted)
        masks.append(mask)
    if any(anchors != lists[0] for anchors in lists):
        return *_joined(lists, masks), num_classes
    return lists[0], tuple(masks), num_classes


def _joined(
    lists: Sequence[tuple[tuple[float, float], ...]], masks: Sequence[tuple[int, ...]]
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[int, ...], ...]]:
    """One list of the anchors that the heads select from lists of their own, and the heads' masks in it.

    The finest head comes first, as in the usual list of anchors from small to large.
    """
    anchors: list[tuple[float, float]] = []
    joined: list[tuple[int, ...]] = []
    for own, mask in reversed(list(zip(lists, masks, strict=True))):
        joined.insert(0, tuple(range(len(anchors), len(anchors) + len(mask))))
        anchors += [own[row] for row in mask]
    return tuple(anchors), tuple(joined)


def _read_anchors(section: Section) -> tuple[tuple[float, float], ...]:
    written = section.get("anchors", "")
    numbers = [section.decimal("anchors", text) for text in written.rstrip(",").split(",")]
    if len(numbers) % 2 or min(numbers) <= 0 or len(numbers) > 2 * MOST_CLASSES:
        raise section.error("anchors", written, "pairs of width and height in pixels, greater than 0")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _read_mask(section: Section, num_anchors: int) -> tuple[int, ...]:
    text = section.get("mask", "").rstrip(",")
    if not text:
        return tuple(range(num_anchors))
    mask = tuple(section.whole("mask", part) for part in text.split(","))
    if not all(0 <= row < num_anchors for row in mask) or len(set(mask)) != len(mask):
        wanted = f"distinct numbers from 0 to {num_anchors - 1}, one for each anchor of the head"
        raise section.error("mask", text, wanted)
    return mask


def _read_dialect(
    heads: Sequence[Section], places: Mapping[str, Section], layers: Sequence[CfgSection], source: str
) -> Dialect:
    used = {places[layer.place].options["activation"] for layer in layers if layer.is_block}
    if len(used) != 1:
        raise WeightsError.at(source, f"activations {', '.join(sorted(used))}; expected one for all convolutions")
    scales = {
        stride: section.decimal("scale_x_y", section.get("scale_x_y", "1"))
        for section, stride in zip(heads, STRIDES, strict=False)
    }
    has_pool = any(layer.place == "pool5" for layer in layers)
    update = {
        "activation": ACTIVATIONS[used.pop()],
        "center_scales": scales,
        "pool_edge": "repeat" if has_pool else "none",
    }
    return DIALECTS["darknet"].model_copy(update=update)


def _filters(section: Section) -> int:
    filters = section.number("filters", 1)
    if not 1 <= filters <= MOST_FILTERS:
        raise section.error("filters", filters, f"1 to {MOST_FILTERS}")
    return filters


def _side(net: Section, name: str) -> int:
    side = net.number(name, 0)
    if side % STRIDE or not STRIDE <= side <= LARGEST_SIDE:
        wanted = f"a multiple of {STRIDE} from {STRIDE} to {LARGEST_SIDE} pixels; replace it with --image-size N"
        raise net.error(name, side, wanted)
    return side


STANDARD_RECORD = ModelRecord(
    dialect=DIALECTS["darknet"], channels=FULL_CHANNELS, class_names=(), category_ids=(), image_size=(416, 416)
)
