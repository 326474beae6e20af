"""Exports a .ckpt as .mindir, and runs a .mindir, in a Python environment with MindSpore.

    python mindspore_program.py export NETWORK.ckpt NETWORK.mindir --height 416 --width 416 [--boxes BOXES.json]
    python mindspore_program.py run NETWORK.mindir IMAGES.npy OUTPUTS.npz --outputs raw_stride32,raw_stride16

It imports neither lookonce nor PyTorch, because MindSpore's dependencies conflict with theirs. The network is the model
zoo's, with the parameter names of the .ckpt. Images are float32 (B, 3, H, W), normalised; outputs are the heads,
float32 (B, A * (5 + C), H / stride, W / stride). If BOXES.json describes the decoding, boxes (B, N, 4) and scores
(B, N, C) come before them. `--outputs` names a file's outputs in their order.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

NUM_CONVOLUTIONS = 11
BATCHNORM_EPS = 1e-5
Weights = dict[str, Tensor]
Size = tuple[int, int]  # height, width


def convolution(weight: Tensor) -> nn.Cell:
    """Convolution, BatchNorm and LeakyReLU as the model zoo's SequentialCell numbers them."""
    out_channels, in_channels, kernel_size, _ = weight.shape
    return nn.SequentialCell(
        nn.Conv2d(in_channels, out_channels, kernel_size, pad_mode="same"),
        nn.BatchNorm2d(out_channels, eps=BATCHNORM_EPS),
        nn.LeakyReLU(0.1),
    )


class Backbone(nn.Cell):  # type: ignore[misc]
    """All convolutions except the heads: images -> the feature maps before the two heads."""

    def __init__(self, weights: Weights, size: Size) -> None:
        super().__init__()
        for index in range(NUM_CONVOLUTIONS):
            setattr(self, f"conv{index}", convolution(weights[f"feature_map.backbone.conv{index}.0.weight"]))
        self.halve = nn.MaxPool2d(2, 2)
        self.keep = nn.MaxPool2d(2, 1, pad_mode="same")
        self.upsample = ops.ResizeNearestNeighbor((size[0] // 16, size[1] // 16))

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.halve(self.conv3(self.halve(self.conv2(self.halve(self.conv1(self.halve(self.conv0(images))))))))
        stride_16 = self.conv4(x)
        x = self.conv6(self.keep(self.conv5(self.halve(stride_16))))
        shared = self.conv7(x)
        upsampled = self.upsample(self.conv9(shared))
        return self.conv8(shared), self.conv10(ops.concat((upsampled, stride_16), 1))


class FeatureMap(nn.Cell):  # type: ignore[misc]
    """Images -> raw heads of stride 32 and 16."""

    def __init__(self, weights: Weights, size: Size) -> None:
        super().__init__()
        self.backbone = Backbone(weights, size)
        self.head1 = self._head(weights["feature_map.head1.weight"])
        self.head2 = self._head(weights["feature_map.head2.weight"])

    @staticmethod
    def _head(weight: Tensor) -> nn.Cell:
        return nn.Conv2d(weight.shape[1], weight.shape[0], 1, has_bias=True)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before_32, before_16 = self.backbone(images)
        return self.head1(before_32), self.head2(before_16)


class YoloV3Tiny(nn.Cell):  # type: ignore[misc]
    """The network; feature_map is the outermost parameter name in the .ckpt."""

    def __init__(self, weights: Weights, size: Size) -> None:
        super().__init__()
        self.feature_map = FeatureMap(weights, size)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raws: tuple[Tensor, Tensor] = self.feature_map(images)
        return raws


class BoxesOfHead(nn.Cell):  # type: ignore[misc]
    """A raw head -> boxes_xyxy (B, N, 4) pixels, scores (B, N, C), as in lookonce.model.decode.

    N: rows, columns and anchors. anchors: (width, height) pixels; size_rule: exp or square.
    """

    def __init__(self, *, anchors: Any, stride: int, center_scale: float, size_rule: str, size: Size) -> None:
        super().__init__()
        rows, columns = size[0] // stride, size[1] // stride
        self.grid = Tensor(
            np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(np.float32)[None, :, :, None]
        )
        self.anchors = Tensor(np.array(anchors, np.float32))
        self.num_anchors, self.stride, self.scale = len(anchors), stride, center_scale
        self.is_square = size_rule == "square"

    def construct(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, rows, columns = raw.shape
        per_anchor = channels // self.num_anchors
        logits = raw.reshape((batch, self.num_anchors, per_anchor, rows, columns)).transpose((0, 3, 4, 1, 2))
        in_cell = self.scale * ops.sigmoid(logits[..., :2]) - (self.scale - 1) / 2
        centers = (in_cell + self.grid) * self.stride
        logits_wh = logits[..., 2:4]
        factor = ops.square(2 * ops.sigmoid(logits_wh)) if self.is_square else ops.exp(ops.minimum(logits_wh, 10.0))
        sizes = factor * self.anchors
        boxes_xyxy = ops.concat((centers - sizes / 2, centers + sizes / 2), -1)
        scores = ops.sigmoid(logits[..., 4:5]) * ops.sigmoid(logits[..., 5:])
        return boxes_xyxy.reshape((batch, -1, 4)), scores.reshape((batch, -1, per_anchor - 5))


class WithBoxes(nn.Cell):  # type: ignore[misc]
    """Images -> boxes, scores, and the raw heads. heads: the arguments of `BoxesOfHead` for each head."""

    def __init__(self, network: nn.Cell, heads: list[dict[str, Any]], size: Size) -> None:
        super().__init__()
        self.network = network
        self.of_32, self.of_16 = (BoxesOfHead(**head, size=size) for head in heads)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        raw_32, raw_16 = self.network(images)
        boxes_32, scores_32 = self.of_32(raw_32)
        boxes_16, scores_16 = self.of_16(raw_16)
        return ops.concat((boxes_32, boxes_16), 1), ops.concat((scores_32, scores_16), 1), raw_32, raw_16


def load(path: str, size: Size) -> nn.Cell:
    """The network with the weights of the .ckpt; ValueError when an array is missing or left over."""
    weights = mindspore.load_checkpoint(path)
    network = YoloV3Tiny(weights, size)
    missing, left = mindspore.load_param_into_net(network, weights, strict_load=True)
    if missing or left:
        raise ValueError(f"{path}: arrays missing: {missing}; left over: {left}")
    return network.set_train(False)


def export(arguments: argparse.Namespace) -> None:
    """Write the .mindir and print the export time."""
    size = arguments.height, arguments.width
    network = load(arguments.source, size)
    if arguments.boxes:
        network = WithBoxes(network, json.loads(arguments.boxes.read_text()), size).set_train(False)
    images = Tensor(np.zeros((arguments.batch, 3, arguments.height, arguments.width), np.float32))
    started = time.perf_counter()
    mindspore.export(network, images, file_name=arguments.target, file_format="MINDIR")
    print(f"MindSpore {mindspore.__version__}: exported in {time.perf_counter() - started:.1f} s")


def run(arguments: argparse.Namespace) -> None:
    """Run the .mindir on the images, batch by batch, and save its outputs."""
    network = nn.GraphCell(mindspore.load(arguments.source))
    images = np.load(arguments.images)
    images = np.concatenate([images, np.repeat(images[-1:], -len(images) % arguments.batch, axis=0)])
    batches = [Tensor(images[start : start + arguments.batch]) for start in range(0, len(images), arguments.batch)]
    network(batches[0])  # compiles
    started = time.perf_counter()
    results = [[value.asnumpy() for value in network(batch)] for batch in batches]
    seconds = (time.perf_counter() - started) / len(images)
    values = [np.concatenate(parts) for parts in zip(*results, strict=True)]
    np.savez(arguments.results, **dict(zip(arguments.outputs.split(","), values, strict=True)))
    print(f"MindSpore {mindspore.__version__}: {1000 * seconds:.0f} ms per image, after compilation")


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parsed.add_subparsers(required=True)
    exporting = verbs.add_parser("export")
    exporting.add_argument("source")
    exporting.add_argument("target")
    exporting.add_argument("--height", type=int, required=True)
    exporting.add_argument("--width", type=int, required=True)
    exporting.add_argument("--boxes", type=Path)
    exporting.set_defaults(call=export)
    running = verbs.add_parser("run")
    running.add_argument("source")
    running.add_argument("images")
    running.add_argument("results")
    running.add_argument("--outputs", default="raw_stride32,raw_stride16")
    running.set_defaults(call=run)
    for verb in (exporting, running):
        verb.add_argument("--batch", type=int, default=1)
    return parsed


if __name__ == "__main__":
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_device("CPU")
    chosen = parser().parse_args()
    chosen.call(chosen)
