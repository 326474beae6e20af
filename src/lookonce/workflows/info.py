"""`lookonce info`: a network layer by layer, and the record of its weights; an exported file needs no PyTorch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lookonce.errors import SettingsError
from lookonce.layout import PLAIN, Layout, Printed
from lookonce.letterbox import fit
from lookonce.model.budget import Budget, budget_of, rows_of, shape_text, totals_of
from lookonce.model.layers import Step, steps_of, steps_of_record
from lookonce.prediction.sources import find_images, require_sources
from lookonce.reports.budget import TABLE_WIDTH, lines_of, table_of, write_budget
from lookonce.request import Listed
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.image_size import sides_in_words, size_hw
from lookonce.settings.record import ModelRecord, scaled_channels
from lookonce.shown import three_digits

if TYPE_CHECKING:
    from torch import Tensor

    from lookonce.model.yolov3_tiny import YoloV3Tiny

NORM_FLOATS, NORM_TRAINED = 4, 2  # of BatchNorm per channel: scale and shift, which are trained, mean and variance


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One convolution with its BatchNorm, activation and pool, as in training. output: (channels, height, width) after
    the pool; parameters: floats, including BatchNorm's statistics; trainable: without these; macs: multiply-accumulate
    operations for one image."""

    name: str
    kind: str
    output: tuple[int, int, int]
    parameters: int
    trainable: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Info(Printed):
    """parameters, trainable: sums over the layers; flops: two per multiply-accumulate, of the convolutions only (all
    other operations are about 1 % of that). budget: None unless requested; files: names of those in output."""

    layers: tuple[LayerInfo, ...]
    image_size: tuple[int, int]  # height, width
    record: ModelRecord | None
    budget: Budget | None = None
    output: Path | None = None
    files: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        return sum(layer.trainable for layer in self.layers)

    @property
    def flops(self) -> int:
        return 2 * sum(layer.macs for layer in self.layers)


def info(
    weights: Path | None = None,
    *,
    names: Path | None = None,
    num_classes: int | None = None,
    width: float | None = None,
    image_size: int | Listed | None = None,
    budget: bool = False,
    int8_scales: str | None = None,
    output: Path | None = None,
) -> Info:
    """Show a network layer by layer (output shape, parameters, multiply-accumulate operations) and its weights' record.

    Without weights: the network of the paper, at any width and number of classes.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder, exported file, or MindSpore's .ckpt or Darknet's .weights.
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
        Images (file, folder, pattern, list) for INT8 calibration of a checkpoint: its activations' ranges on them.
    output
        Folder for budget.csv, budget.json and, with a checkpoint, int8-scales.json; implies --budget.
    """
    if weights is not None and (num_classes is not None or width is not None):
        problem = f"{weights} determines both; leave them out, or leave out the weights"
        raise SettingsError(f"num_classes, width: {problem}", setting="num_classes, width")
    if weights is None and names is not None:
        raise SettingsError.of("names", names, "expected together with weights, whose classes it names")
    asked = None if image_size is None else size_hw(image_size)
    if weights is not None and output is not None:
        require_sources(int8_scales)  # before PyTorch is loaded
    runtime = None if weights is None else load_runtime(weights, names=names, device="cpu")
    record = None if runtime is None else runtime.record
    input_hw = asked or (record.image_size if record else (416, 416))
    if record is None:
        if num_classes is not None and num_classes < 1:
            raise SettingsError.of("num_classes", num_classes, "expected 1 or more")
        channels = scaled_channels(1.0 if width is None else width)
        steps = steps_of(channels, 80 if num_classes is None else num_classes, input_hw)
    else:
        steps = steps_of_record(record, input_hw)
    found = Info(layers=tuple(_layers(steps)), image_size=input_hw, record=record)
    if budget or int8_scales is not None or output is not None:
        return _with_budget(found, steps, getattr(runtime, "model", None), int8_scales, output)
    return found


def _with_budget(
    found: Info, steps: Sequence[Step], model: "YoloV3Tiny | None", images: str | None, output: Path | None
) -> Info:
    """The same with the budget of each step, also written into `output` unless that is None."""
    if images is not None and model is None:
        problem = "given without weights in PyTorch; expected a checkpoint or run folder too"
        raise SettingsError.of("int8_scales", images, problem)
    if images is not None and output is None:
        problem = "given without output; add --output DIR, the folder for int8-scales.json"
        raise SettingsError(f"int8_scales: {problem}", setting="int8_scales")
    budget = budget_of(steps, found.image_size, found.record)
    files: tuple[str, ...] = ()
    if output is not None:
        scales = None
        if model is not None and found.record is not None:
            scales = scales_of(model, found.record, found.image_size, images)
        written = write_budget(list(rows_of(budget)), totals_of(budget), found.record, scales, output)
        files = tuple(path.name for path in written)
    return replace(found, budget=budget, output=output, files=files)


def as_text(found: Info, layout: Layout = PLAIN) -> Iterator[str]:
    if found.budget is not None:
        yield from layout.lines(table_of(list(rows_of(found.budget))), least_width=TABLE_WIDTH)
        yield from lines_of(totals_of(found.budget))
        if found.output is not None:
            yield f"written: {found.output}: {', '.join(found.files)}"
        return
    table = Table("layer", "kind", box=None, pad_edge=False)
    for heading in ("output", "floats", "million MACs"):
        table.add_column(heading, justify="right")
    for layer in found.layers:
        numbers = shape_text(layer.output), f"{layer.parameters:,}", f"{layer.macs / 1e6:,.1f}"
        table.add_row(layer.name, layer.kind, *numbers)
    yield from layout.lines(table)
    yield (
        f"{found.parameters:,} floats with BatchNorm's statistics, {found.trainable:,} of them trained; "
        f"{found.flops / 1e9:.3f} GFLOP in the convolutions for an image of {sides_in_words(found.image_size)}"
    )
    if found.record is not None:
        yield from describe_record(found.record)


def scales_of(model: "YoloV3Tiny", record: ModelRecord, size_hw: tuple[int, int], images: str | None) -> dict[str, Any]:
    """The content of int8-scales.json: weights per output channel and, from images, activations per tensor."""
    import torch

    from lookonce.model.int8_scales import activation_ranges, weight_scales
    from lookonce.model.normalise import to_network_input

    weights = {
        name.rpartition(".")[2]: {"scales": found.scales.tolist(), "biases": found.biases.tolist()}
        for name, found in weight_scales(model).items()
    }
    content: dict[str, Any] = {"weights": weights, "activations": {}, "images": 0}
    if images is None:
        return content
    sources = find_images(images)

    def inputs() -> "Iterator[Tensor]":
        for source in sources:
            canvas, _ = fit(source.read(), size_hw, record.preprocessing)
            yield to_network_input(torch.from_numpy(canvas[None]), record.preprocessing)

    keys = ("low", "high", "scale", "zero_point")
    content["activations"] = {
        name.rpartition(".")[2]: {key: getattr(found, key) for key in keys}
        for name, found in activation_ranges(model, inputs()).items()
    }
    return content | {"images": len(sources)}


def _layers(steps: Sequence[Step]) -> Iterator[LayerInfo]:
    readers = Counter(name for step in steps for name in step.inputs)
    pools = {step.inputs[0]: step for step in steps if step.kind == "max pool" and readers[step.inputs[0]] == 1}
    for step in steps:
        if step.kind != "conv":
            continue
        is_head, pool = not step.activation, pools.get(step.name)
        parts = [f"conv {step.kernel}x{step.kernel}", *([] if is_head else ["norm", step.activation])]
        yield LayerInfo(
            name=step.module,
            kind=", ".join([*parts, *(["pool"] if pool else [])]),
            output=(pool or step).out_shape,
            parameters=step.weights + (1 if is_head else NORM_FLOATS) * step.biases,
            trainable=step.weights + (1 if is_head else NORM_TRAINED) * step.biases,
            macs=step.macs,
        )


def describe_record(record: ModelRecord) -> list[str]:
    """The record as text, one line per topic."""
    preprocessing, thresholds = record.preprocessing, record.thresholds
    anchors = "; ".join(
        f"stride {stride}: " + " ".join(f"{w:g}x{h:g}" for w, h in record.head_anchors(head))
        for head, stride in enumerate(record.strides)
    )
    boxes = "boxes" if thresholds.multi_label else "boxes of one class"
    boxes += ", class-agnostic" if thresholds.agnostic else ""
    lines = [
        f"classes     {record.num_classes}: {', '.join(record.class_names)}",
        f"dialect     {record.dialect.name}, {record.dialect.activation}",
        f"input       {sides_in_words(record.image_size)}, {preprocessing.resize}, {preprocessing.color_order}",
        f"anchors     {anchors}",
        f"thresholds  score {thresholds.score:g}, iou {thresholds.iou:g}, at most {thresholds.max_detections} {boxes}",
    ]
    more = {
        "shown from": [f"{name} {score:g}" for name, score in thresholds.per_class_score.items()],
        "metrics": [f"{name} {three_digits(value)}" for name, value in record.metrics.items()],
        "versions": [f"{name} {value}" for name, value in record.versions.items()],
    }
    return [*lines, *(f"{name:<12}{', '.join(values)}" for name, values in more.items() if values)]
