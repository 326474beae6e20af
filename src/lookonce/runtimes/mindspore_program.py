"""A program for Python with MindSpore, in an environment of its own: write a .mindir from a .ckpt, and run one.

    python mindspore_program.py export NETWORK.ckpt NETWORK.mindir --batch 1 --height 416 --width 416
    python mindspore_program.py run NETWORK.mindir IMAGES.npy HEADS.npz

It knows neither lookonce nor PyTorch: MindSpore's packages do not go together with theirs. The network is the model
zoo's; its names are those of the .ckpt. Images are float32 (B, 3, H, W), normalised; heads are `raw_stride32` and
`raw_stride16`, float32 (B, A * (5 + C), H / stride, W / stride).
"""

import argparse
import time

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
    """All convolutions but the heads: images -> the maps before the two heads."""

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
    """The outermost name of the .ckpt: feature_map."""

    def __init__(self, weights: Weights, size: Size) -> None:
        super().__init__()
        self.feature_map = FeatureMap(weights, size)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raws: tuple[Tensor, Tensor] = self.feature_map(images)
        return raws


def load(path: str, size: Size) -> nn.Cell:
    """The network with every array of the .ckpt in its place; ValueError when one is missing or left over."""
    weights = mindspore.load_checkpoint(path)
    network = YoloV3Tiny(weights, size)
    missing, left = mindspore.load_param_into_net(network, weights, strict_load=True)
    if missing or left:
        raise ValueError(f"{path}: missing {missing}, left over {left}")
    return network.set_train(False)


def export(arguments: argparse.Namespace) -> None:
    """Write the .mindir, with how long it took."""
    network = load(arguments.source, (arguments.height, arguments.width))
    images = Tensor(np.zeros((arguments.batch, 3, arguments.height, arguments.width), np.float32))
    started = time.perf_counter()
    mindspore.export(network, images, file_name=arguments.target, file_format="MINDIR")
    print(f"MindSpore {mindspore.__version__}: exported in {time.perf_counter() - started:.1f} s")


def run(arguments: argparse.Namespace) -> None:
    """Heads of the images, one batch of the .mindir's size after the other."""
    network = nn.GraphCell(mindspore.load(arguments.source))
    images = np.load(arguments.images)
    images = np.concatenate([images, np.repeat(images[-1:], -len(images) % arguments.batch, axis=0)])
    batches = [Tensor(images[start : start + arguments.batch]) for start in range(0, len(images), arguments.batch)]
    network(batches[0])  # compiles
    started = time.perf_counter()
    answers = [[head.asnumpy() for head in network(batch)] for batch in batches]
    seconds = (time.perf_counter() - started) / len(images)
    raw_32, raw_16 = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    np.savez(arguments.heads, raw_stride32=raw_32, raw_stride16=raw_16)
    print(f"MindSpore {mindspore.__version__}: {1000 * seconds:.0f} ms a picture, once compiled")


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parsed.add_subparsers(required=True)
    exporting = verbs.add_parser("export")
    exporting.add_argument("source")
    exporting.add_argument("target")
    exporting.add_argument("--height", type=int, required=True)
    exporting.add_argument("--width", type=int, required=True)
    exporting.set_defaults(call=export)
    running = verbs.add_parser("run")
    running.add_argument("source")
    running.add_argument("images")
    running.add_argument("heads")
    running.set_defaults(call=run)
    for verb in (exporting, running):
        verb.add_argument("--batch", type=int, default=1)
    return parsed


if __name__ == "__main__":
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    mindspore.set_device("CPU")
    chosen = parser().parse_args()
    chosen.call(chosen)
