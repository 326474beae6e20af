"""`lookonce info`: a network layer by layer, and the record of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lookonce.config.image_size import size_hw
from lookonce.config.record import ModelRecord
from lookonce.data.letterbox import fit
from lookonce.errors import SettingsError
from lookonce.layout import PLAIN, Layout
from lookonce.prediction.sources import find_images
from lookonce.report.budget import TABLE_WIDTH, Budget, budget_of, lines_of, table_of, write_budget
from lookonce.weights.pull import find_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lookonce.model.yolov3_tiny import YoloV3Tiny


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One convolution with its BatchNorm, activation and pool. output: (channels, height, width) after the pool;
    parameters: floats, including BatchNorm's statistics; macs: multiply-accumulate operations for one image."""

    name: str
    kind: str
    output: tuple[int, int, int]
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Info:
    """trainable: floats without BatchNorm's statistics; flops: two per multiply-accumulate, of the convolutions only
    (all other operations are about 1 % of that). budget: None unless requested; files: names of those in output."""

    layers: tuple[LayerInfo, ...]
    image_size: tuple[int, int]  # height, width
    trainable: int
    record: ModelRecord | None
    budget: Budget | None = None
    output: Path | None = None
    files: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int:
        return 2 * sum(layer.macs for layer in self.layers)


def info(
    weights: Path | None = None,
    *,
    names: Path | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    image_size: int | str | None = None,
    budget: bool = False,
    int8_scales: str | None = None,
    output: Path | None = None,
) -> Info:
    """Show a network layer by layer (output shape, parameters, multiply-accumulate operations) and its weights' record.

    Without weights: the network of the paper, at any width and number of classes.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder, or MindSpore's .ckpt or Darknet's .weights.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    num_classes
        Number of classes of a network without weights, 1 or more. Default: 80.
    width
        Channel multiplier of a network without weights, above 0. Default: 1.
    image_size
        Side of the square network input in pixels, a multiple of 32. Default: that of the weights, else 416.
    budget
        Show memory and operations of each step, for an implementation on another device.
    int8_scales
        Images (file, folder, pattern, list) for INT8 calibration: the ranges of the activations are measured on them.
    output
        Folder for budget.csv, budget.json and, with weights, int8-scales.json; implies --budget.
    """
    if weights is not None and (num_classes is not None or width is not None):
        raise SettingsError(
            f"num_classes, width: {weights} determines both; leave them out, or leave out the weights",
            setting="num_classes, width",
        )
    if weights is None and names is not None:
        raise SettingsError(
            f"names: {names}; expected together with weights, whose classes it names", setting="names", value=names
        )
    asked = None if image_size is None else size_hw(image_size)
    model, record = _network(
        weights, names, 80 if num_classes is None else num_classes, 1.0 if width is None else width
    )
    found = describe(model, record, asked or (record.image_size if record else (416, 416)))
    if budget or int8_scales is not None or output is not None:
        return _with_budget(found, model, int8_scales, output)
    return found


def _with_budget(found: Info, model: YoloV3Tiny, images: str | None, output: Path | None) -> Info:
    """The same with the budget of each step, also written into `output` unless that is None."""
    record = found.record
    if images is not None and record is None:
        raise SettingsError(
            "int8_scales: given without weights; expected a checkpoint or run folder too", setting="int8_scales"
        )
    if images is not None and output is None:
        raise SettingsError(
            "int8_scales: given without output; add --output DIR, the folder for int8-scales.json",
            setting="int8_scales",
        )
    activation = model.backbone.conv0.activation
    budget = budget_of(model.channels, model.num_classes, found.image_size, activation=activation, record=record)
    files: tuple[str, ...] = ()
    if output is not None:
        scales = None if record is None else scales_of(model, record, found.image_size, images)
        files = tuple(path.name for path in write_budget(budget, scales, output))
    return replace(found, budget=budget, output=output, files=files)


def as_text(found: Info, layout: Layout = PLAIN) -> Iterator[str]:
    """The budget if requested, else the layers and the record."""
    if found.budget is not None:
        yield from layout.lines(table_of(found.budget), least_width=TABLE_WIDTH)
        yield from lines_of(found.budget)
        if found.output is not None:
            yield f"written: {found.output}: {', '.join(found.files)}"
        return
    yield from layout.lines(_table(found.layers))
    height, width = found.image_size
    yield (
        f"{found.parameters:,} floats with BatchNorm's statistics, {found.trainable:,} of them trained; "
        f"{found.flops / 1e9:.3f} GFLOP in the convolutions for an image of {width}x{height}"
    )
    if found.record is not None:
        yield from describe_record(found.record)


def scales_of(model: YoloV3Tiny, record: ModelRecord, size_hw: tuple[int, int], images: str | None) -> dict[str, Any]:
    """The content of int8-scales.json: weights per output channel and, from images, activations per tensor."""
    import torch

    from lookonce.model.int8_scales import activation_ranges, weight_scales
    from lookonce.runtimes.pytorch import to_network_input

    weights = {
        name.rpartition(".")[2]: {"scales": found.scales.tolist(), "biases": found.biases.tolist()}
        for name, found in weight_scales(model).items()
    }
    content: dict[str, Any] = {"weights": weights, "activations": {}, "pictures": 0}
    if images is None:
        return content
    sources = find_images(images)

    def inputs() -> Iterator[Tensor]:
        for source in sources:
            canvas, _ = fit(source.read(), size_hw, record.preprocessing)
            yield to_network_input(torch.from_numpy(canvas[None]), record.preprocessing)

    content["activations"] = {
        name.rpartition(".")[2]: {
            "low": found.low,
            "high": found.high,
            "scale": found.scale,
            "zero_point": found.zero_point,
        }
        for name, found in activation_ranges(model, inputs()).items()
    }
    return content | {"pictures": len(sources)}


def describe(model: YoloV3Tiny, record: ModelRecord | None, size_hw: tuple[int, int]) -> Info:
    """Run one zero image of that size (height, width) through the network and record the output of each layer."""
    import torch
    from torch import nn

    from lookonce.model.backbone import ConvBlock

    layers: list[LayerInfo] = []
    layers_by_name = {
        name: module for name, module in model.named_modules() if isinstance(module, ConvBlock) or module in model.heads
    }
    sizes: dict[nn.Module, tuple[int, int]] = {}  # height, width of each convolution's own output, before any pool

    def note_size(module: nn.Module, _inputs: object, output: Tensor) -> None:
        sizes[module] = (output.shape[2], output.shape[3])

    hooks = [conv.register_forward_hook(note_size) for conv in model.modules() if isinstance(conv, nn.Conv2d)]

    def note_layer(name: str) -> None:
        def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
            layers.append(_layer(name, module, output, sizes))

        hooks.append(layers_by_name[name].register_forward_hook(note))

    for name in layers_by_name:
        note_layer(name)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, *size_hw))
    finally:
        for hook in hooks:
            hook.remove()
    trainable = sum(parameter.numel() for parameter in model.parameters())
    return Info(layers=tuple(layers), image_size=size_hw, trainable=trainable, record=record)


def _network(
    weights: Path | None, names: Path | None, num_classes: int, width: float
) -> tuple[YoloV3Tiny, ModelRecord | None]:
    if weights is not None:
        weights = find_weights(weights)  # before anything slow
        from lookonce.weights.load import load_weights

        return load_weights(weights, names)
    if num_classes < 1:
        raise SettingsError(f"num_classes: {num_classes}; expected 1 or more", setting="num_classes", value=num_classes)
    import torch

    from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels

    with torch.random.fork_rng(devices=[]):  # PyTorch draws initial weights from the global generator
        return YoloV3Tiny(num_classes, channels=scaled_channels(width)), None


def _layer(name: str, module: nn.Module, output: Tensor, sizes: dict[nn.Module, tuple[int, int]]) -> LayerInfo:
    from torch import nn

    from lookonce.model.backbone import ConvBlock

    conv = module.conv if isinstance(module, ConvBlock) else module
    assert isinstance(conv, nn.Conv2d)
    kernel = conv.kernel_size[0]
    height, width = sizes[conv]
    parts = [f"conv {kernel}x{kernel}"]
    if isinstance(module, ConvBlock):
        parts += ["norm", module.activation, *(["pool"] if module.then_pool else [])]
    arrays = [value for value in module.state_dict().values() if value.is_floating_point()]
    return LayerInfo(
        name=name,
        kind=", ".join(parts),
        output=(output.shape[1], output.shape[2], output.shape[3]),
        parameters=sum(array.numel() for array in arrays),
        macs=conv.weight.numel() * height * width,
    )


def _table(layers: Sequence[LayerInfo]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    table.add_column("kind")
    for heading in ("output", "floats", "million MACs"):
        table.add_column(heading, justify="right")
    for layer in layers:
        shape = "x".join(map(str, layer.output))
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", f"{layer.macs / 1e6:,.1f}")
    return table


def describe_record(record: ModelRecord) -> list[str]:
    """The record as text, one line per topic."""
    height, width = record.image_size
    preprocessing, thresholds = record.preprocessing, record.thresholds
    anchors = "; ".join(
        f"stride {stride}: " + " ".join(f"{w:g}x{h:g}" for w, h in record.head_anchors(head))
        for head, stride in enumerate(record.strides)
    )
    boxes = ("boxes" if thresholds.multi_label else "boxes of one class") + (
        ", class-agnostic" if thresholds.agnostic else ""
    )
    lines = [
        f"classes     {record.num_classes}: {', '.join(record.class_names)}",
        f"dialect     {record.dialect.name}, {record.dialect.activation}",
        f"input       {width}x{height}, {preprocessing.resize}, {preprocessing.color_order}",
        f"anchors     {anchors}",
        f"thresholds  score {thresholds.score:g}, iou {thresholds.iou:g}, at most {thresholds.max_detections} {boxes}",
    ]
    if thresholds.per_class_score:
        lines.append(
            "shown from  " + ", ".join(f"{name} {score:g}" for name, score in thresholds.per_class_score.items())
        )
    if record.metrics:
        lines.append("metrics     " + ", ".join(f"{name} {value:.3f}" for name, value in record.metrics.items()))
    if record.versions:
        lines.append("versions    " + ", ".join(f"{name} {value}" for name, value in record.versions.items()))
    return lines
