"""The network as a table of steps, without PyTorch: inputs, output shape, parameters and operations of each step.

For engineers who implement it elsewhere (FPGA, microcontroller, C), and for counting. BatchNorm is folded into the
convolution before it, as in every exported file. Convolutions have stride 1 and keep height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lookonce.settings.dialects import PoolEdge
from lookonce.settings.record import ModelRecord

Shape = tuple[int, int, int]  # channels, height, width
Kind = Literal["conv", "max pool", "upsample", "concat"]
INPUT = "images"
THREE_HEADS = 13  # number of convolutions with a third head of stride 8, the heads' own not counted


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step for one image. inputs: names of steps, or "images". activation: after a convolution, "" for none.

    weights: number of values (out * in * kernel * kernel); biases: one per output channel; macs: multiply-accumulate
    operations. module: name of the convolution in the PyTorch network, "" for other steps.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    kernel: int = 1
    stride: int = 1
    activation: str = ""
    weights: int = 0
    biases: int = 0
    macs: int = 0
    module: str = ""

    @property
    def num_outputs(self) -> int:
        """Number of output values."""
        return num_values(self.out_shape)


def num_values(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


class _Table:
    """Builds the list of steps in order of execution."""

    def __init__(self, image: Shape, activation: str) -> None:
        self.steps: list[Step] = []
        self._shapes: dict[str, Shape] = {INPUT: image}
        self._activation = activation

    def conv(self, module: str, source: str, channels: int, kernel: int, *, head: bool = False) -> str:
        if channels == 0:  # left out
            return source
        in_channels, height, width = self._shapes[source]
        weights = channels * in_channels * kernel * kernel
        name = module.rpartition(".")[2]
        return self._add(
            Step(
                name=name,
                kind="conv",
                inputs=(source,),
                in_shapes=(self._shapes[source],),
                out_shape=(channels, height, width),
                kernel=kernel,
                activation="" if head else self._activation,
                weights=weights,
                biases=channels,
                macs=weights * height * width,
                module=module,
            )
        )

    def pool(self, name: str, source: str, stride: int) -> str:
        channels, height, width = self._shapes[source]
        shape = (channels, height // stride, width // stride)
        return self._other(name, "max pool", (source,), shape, kernel=2, stride=stride)

    def upsample(self, name: str, source: str) -> str:
        channels, height, width = self._shapes[source]
        return self._other(name, "upsample", (source,), (channels, 2 * height, 2 * width), stride=2)

    def concat(self, name: str, sources: tuple[str, ...]) -> str:
        shapes = [self._shapes[source] for source in sources]
        return self._other(name, "concat", sources, (sum(shape[0] for shape in shapes), *shapes[0][1:]))

    def _other(
        self, name: str, kind: Kind, sources: tuple[str, ...], shape: Shape, *, kernel: int = 1, stride: int = 1
    ) -> str:
        in_shapes = tuple(self._shapes[source] for source in sources)
        return self._add(
            Step(
                name=name,
                kind=kind,
                inputs=sources,
                in_shapes=in_shapes,
                out_shape=shape,
                kernel=kernel,
                stride=stride,
            )
        )

    def _add(self, step: Step) -> str:
        self.steps.append(step)
        self._shapes[step.name] = step.out_shape
        return step.name


def steps_of(
    channels: Sequence[int],
    num_classes: int,
    size_hw: tuple[int, int],
    *,
    activation: str = "leaky",
    anchors: Sequence[int] = (3, 3, 3),
    pool_edge: PoolEdge = "repeat",
) -> list[Step]:
    """Steps in order of execution. channels: of the convolutions, as in ModelRecord.channels; anchors: of each head."""
    table = _Table((3, *size_hw), activation)
    outputs = [count * (5 + num_classes) for count in anchors]
    last, maps = INPUT, list[str]()  # maps of strides 1, 2, 4, 8 and 16
    for index in range(5):
        maps.append(table.conv(f"backbone.conv{index}", last, channels[index], 3))
        last = table.pool(f"pool{index}", maps[index], 2)
    last = table.conv("backbone.conv5", last, channels[5], 3)
    if pool_edge != "none":
        last = table.pool("pool5", last, 1)
    last = table.conv("backbone.conv6", last, channels[6], 3)
    shared = table.conv("neck7", last, channels[7], 1)
    last = table.conv("neck8", shared, channels[8], 3)
    table.conv("head32", last, outputs[0], 1, head=True)
    last = table.conv("lateral9", shared, channels[9], 1)
    last = table.upsample("upsample", last)
    last = table.concat("concat", (last, maps[4]))
    last = table.conv("neck10", last, channels[10], 3)
    table.conv("head16", last, outputs[1], 1, head=True)
    if len(channels) == THREE_HEADS:
        last = table.conv("lateral11", last, channels[11], 1)
        last = table.concat("concat_8", (table.upsample("upsample_8", last), maps[3]))
        last = table.conv("neck12", last, channels[12], 3)
        table.conv("head8", last, outputs[2], 1, head=True)
    return table.steps


def steps_of_record(record: ModelRecord, size_hw: tuple[int, int] | None = None) -> list[Step]:
    """Steps of the network of a record. size_hw: of the network input; None: that of the record."""
    return steps_of(
        record.channels,
        record.num_classes,
        size_hw or record.image_size,
        activation=record.dialect.activation,
        anchors=[len(mask) for mask in record.masks],
        pool_edge=record.dialect.pool_edge,
    )


def live_values(steps: Sequence[Step]) -> list[int]:
    """Values in memory during each step: its inputs, its output, and what a later step still reads.

    The image counts until it is read, the network's outputs until the end.
    """
    last_use = {name: index for index, step in enumerate(steps) for name in step.inputs}
    made = {INPUT: (-1, num_values(steps[0].in_shapes[0]))}
    made |= {step.name: (index, step.num_outputs) for index, step in enumerate(steps)}
    return [
        sum(values for name, (born, values) in made.items() if born <= now <= last_use.get(name, len(steps)))
        for now in range(len(steps))
    ]
