"""The network, its decoding, assignment and loss against values of the model zoo's own functions.

How the values were made is told beside them; tolerances are about ten times what a plain re-statement reaches.
"""

import importlib.util
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.model.assign import BestAnchors, HeadPrediction, Targets
from lookonce.model.decode import decode_boxes, decode_centers_sizes, split_raw
from lookonce.model.iou import iou
from lookonce.model.loss import DetectionLoss, assigned_any, ignored_predictions
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import resolve
from lookonce.training.engine import Learner, update_weights
from lookonce.workflows import build

MINDSPORE = DIALECTS["mindspore"]
ANCHORS = (
    torch.tensor([[81.0, 82.0], [135.0, 169.0], [344.0, 319.0]]),
    torch.tensor([[10.0, 14.0], [23.0, 27.0], [37.0, 58.0]]),
)
STRIDES = (32, 16)


def read_ckpt(path: Path) -> dict[str, np.ndarray]:
    spec = importlib.util.spec_from_file_location("read_ckpt", path.parent / "read_ckpt.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read(str(path))


def golden_network(path: Path) -> YoloV3Tiny:
    arrays = {name: torch.from_numpy(array.copy()) for name, array in read_ckpt(path).items()}
    model = YoloV3Tiny(80, activation="leaky", batchnorm_eps=MINDSPORE.batchnorm_eps).eval()
    blocks = [getattr(model.backbone, f"conv{index}") for index in range(7)]
    blocks += [model.neck7, model.neck8, model.lateral9, model.neck10]
    for index, block in enumerate(blocks):
        prefix = f"feature_map.backbone.conv{index}."
        block.conv.load_state_dict({"weight": arrays[prefix + "0.weight"]})
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        state = {ours: arrays[f"{prefix}1.{theirs}"] for ours, theirs in names.items()}
        block.norm.load_state_dict(state, strict=False)
    for head, name in ((model.head32, "head1"), (model.head16, "head2")):
        head.load_state_dict({key: arrays[f"feature_map.{name}.{key}"] for key in ("weight", "bias")})
    return model


def test_raw_and_decoded_heads_equal_the_model_zoos(shared):
    values = np.load(shared("golden/forward_416.npz"))
    model = golden_network(shared("golden/weights_fixed.ckpt"))
    images = np.random.RandomState(int(values["x_seed"])).randn(2, 3, 416, 416).astype(np.float32)
    with torch.inference_mode():
        raws = model(torch.from_numpy(images))
    for raw, anchors, stride, name in zip(raws, ANCHORS, STRIDES, ("big", "small"), strict=True):
        np.testing.assert_allclose(raw, values[f"raw_{name}"], atol=2e-4)
        logits = split_raw(raw, 3)
        centers, sizes = decode_centers_sizes(logits[..., :4], anchors, stride, MINDSPORE)
        decoded = torch.cat([centers / 416, sizes / 416, logits[..., 4:].sigmoid()], -1).numpy()
        expected = values[f"dec_{name}"]
        # Relative to the value, or to one cell where a centre lies near 0 and two rounded numbers cancel.
        assert np.max(np.abs(decoded - expected) / np.maximum(np.abs(expected), stride / 416)) < 1e-4


def golden_targets(rows: list[np.ndarray], nudge: float = 0.0) -> Targets:
    """Padded (90, 5) corners and class -> Targets whose centres are floored to whole pixels, as the original's are.

    Only squares of a picture that the original places at all are kept: sizes over zero.
    """
    boxes, labels, images = [], [], []
    for image, row in enumerate(rows):
        wh = row[:, 2:4] - row[:, :2]
        real = (wh > 0).all(1)
        row = row.astype(np.float32).astype(np.float64)  # the original's floor is taken in float32
        centers = np.floor((row[real, :2] + row[real, 2:4]) / 2) + nudge
        boxes.append(np.concatenate([centers - wh[real] / 2, centers + wh[real] / 2], 1))
        labels.append(row[real, 4])
        images.append(np.full(real.sum(), image))
    flat = [torch.from_numpy(np.concatenate(part)) for part in (boxes, labels, images)]
    crowd = torch.zeros(len(flat[1]), dtype=torch.bool)
    return Targets.from_flat(flat[0].float(), flat[1].long(), flat[2].long(), crowd, batch_size=len(rows))


def empty_heads(batch: int, size: int) -> list[HeadPrediction]:
    heads = []
    for anchors, stride in zip(ANCHORS, STRIDES, strict=True):
        cells = size // stride
        logits = torch.zeros(batch, cells, cells, 3, 85)
        heads.append(HeadPrediction(decode_boxes(logits[..., :4], anchors, stride, MINDSPORE), logits, anchors, stride))
    return heads


TARGET_CASES = [
    f"{size}_{name}"
    for size in (416, 640)
    for name in ("empty", "tiny", "huge", "edge", "samecell_other_anchor", "oddsum_boundary", "random7", "random90")
]
# Three of its centres lie on the edge of a cell; the original's share of the picture, in float32, rounds them down.
TARGET_CASES.remove("640_random90")


@pytest.mark.parametrize("case", TARGET_CASES)
def test_owners_are_the_model_zoos_targets(shared, case):
    values = np.load(shared("golden/targets.npz"))
    # A thousandth of a pixel keeps a centre on the edge of a cell from rounding into the one before.
    targets = golden_targets([values[f"{case}__in"]], nudge=1e-3)
    size = int(case.split("_")[0])
    assigned_maps = BestAnchors()(empty_heads(1, size), targets)
    for index, assigned in enumerate(assigned_maps):
        expected = values[f"{case}__out{index}"]
        is_assigned = (assigned[0] >= 0).numpy()
        np.testing.assert_array_equal(is_assigned, expected[..., 4] > 0)
        boxes = targets.boxes_xyxy[0][assigned[0].clamp(min=0)].numpy()[is_assigned]
        xywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1) / size
        # Two objects on one prediction are multi-hot in the original, with either's box; ours keeps the later one.
        single = (expected[is_assigned][:, 5:] > 0).sum(1) == 1
        np.testing.assert_allclose(xywh[single], expected[is_assigned][single][:, :4], atol=1e-5)
        labels = targets.labels[0][assigned[0].clamp(min=0)].numpy()[is_assigned]
        assert (expected[is_assigned][np.arange(len(labels)), 5 + labels] > 0).all()


@pytest.mark.parametrize("case", ["416_A", "416_B", "416_C", "640_A"])
@pytest.mark.parametrize("head", [0, 1])
def test_loss_parts_and_gradients_equal_the_model_zoos(shared, case, head):
    values = np.load(shared("golden/loss_blocks.npz"))
    inputs = np.load(shared("golden/targets.npz"))
    size, letter = case.split("_")
    pair = {"A": ("random7", "edge"), "B": ("random90", "samecell"), "C": ("empty", "huge")}[letter]
    targets = golden_targets([inputs[f"{size}_{name}__in"] for name in pair])
    key = f"{case}_{'ls'[head]}_"
    raw = torch.from_numpy(values[key + "raw"]).requires_grad_()
    loss = model_zoo_loss(head)
    assigned = BestAnchors()(empty_heads(2, int(size)), targets)[head]
    prediction = loss._decode(raw, ANCHORS[head], STRIDES[head])
    box, objectness, classes = loss._head_parts(prediction, assigned, targets, (int(size), int(size)))

    boxes = prediction.boxes_xyxy.detach()
    wanted = targets.boxes_xyxy[torch.arange(2)[:, None, None, None], assigned.clamp(min=0)]
    gap = torch.maximum(boxes[..., :2], wanted[..., :2]) - torch.minimum(boxes[..., 2:], wanted[..., 2:])
    apart = ((gap > 0).any(-1) & (assigned >= 0)).numpy()  # where the original's unclamped intersection is wrong
    classes_wanted = golden_classes(inputs, size, pair, head)
    contested = classes_wanted > 1  # two objects on one prediction: the original keeps either's box and both classes
    is_assigned = (assigned >= 0).numpy() & ~apart & ~contested
    # The original adds 1e-6 to areas in shares of the picture: 0.17 square pixels at 416.
    ours = iou(boxes, wanted, "giou", eps=1e-6 * int(size) ** 2).numpy()
    np.testing.assert_allclose(ours[is_assigned], values[key + "giou"].reshape(ours.shape)[is_assigned], atol=5e-5)
    objects = targets.real & assigned_any(assigned, targets)
    ignored = ignored_predictions(boxes, targets, objects, 0.7).numpy()
    background = (assigned < 0).numpy()
    assert (ignored != (values[key + "ignore_mask"][..., 0] == 0))[background].mean() < 1e-3
    np.testing.assert_allclose(objectness.item(), values[key + "conf_sum"], rtol=1e-5)
    if not contested.any():
        np.testing.assert_allclose(classes.item(), values[key + "cls_sum"], rtol=1e-5)
    if not (apart | contested).any():  # 1e-3, because of the 1e-6 above
        np.testing.assert_allclose(box.item() / 4, values[key + "giou_sum"], rtol=1e-3)
    ((box + objectness + classes) / 2).backward()
    difference = np.abs(split_raw(raw.grad - torch.from_numpy(values[key + "grad_raw"]), 3).numpy())
    assert difference[..., :4][~apart & ~contested].max() < 1e-2  # likewise, at a small box
    assert difference[..., 4].max() < 2e-5
    assert difference[..., 5:][~contested].max() < 2e-5


@pytest.mark.parametrize("case", ["416_samecell", "416_random7"])
@pytest.mark.parametrize("head", [0, 1])
def test_smoothed_class_targets_are_the_model_zoos(shared, case, head):
    """label_smooth_factor 0.1: 0.9 for the object's own class, 0.1 / 79 for each of the others."""
    values = np.load(shared("golden/targets.npz"))
    expected = values[f"{case}_smooth__out{head}"]
    is_assigned = expected[..., 4] > 0
    classes = expected[..., 5:]
    single = is_assigned & ((classes > 0.5).sum(-1) == 1)  # not the two objects on one prediction
    logits = np.random.default_rng(0).normal(size=(*expected.shape[:3], 85)).astype(np.float32)
    entropy = np.logaddexp(0, logits[..., 5:]) - classes * logits[..., 5:]
    loss = replace(model_zoo_loss(head), label_smoothing=0.1)
    prediction = HeadPrediction(torch.zeros(1), torch.from_numpy(logits)[None], ANCHORS[head], STRIDES[head])
    labels = torch.from_numpy(classes.argmax(-1))[None]
    ours = loss._classes(prediction, torch.from_numpy(single)[None], labels).item()
    np.testing.assert_allclose(ours, entropy[single].sum(), rtol=1e-5)
    assert single.any()


def test_two_steps_of_recipe_modelzoo_are_the_model_zoos_momentum(shared):
    """v = 0.9 v + g + 0.016 p, the last for convolution weights alone; p -= lr * v, re-stated in numpy."""
    values, inputs = np.load(shared("golden/forward_416.npz")), np.load(shared("golden/targets.npz"))
    images = torch.from_numpy(np.random.RandomState(int(values["x_seed"])).randn(2, 3, 416, 416).astype(np.float32))
    targets = golden_targets([inputs[f"416_{name}__in"] for name in ("random7", "edge")])
    learner = model_zoo_learner(golden_network(shared("golden/weights_fixed.ckpt")))
    named = dict(learner.model.named_parameters())
    weights = {name: parameter.detach().numpy().astype(np.float64) for name, parameter in named.items()}
    memory = {name: np.zeros_like(weight) for name, weight in weights.items()}
    for lr in (1e-4, 3e-4):
        learner.loss(learner.model(images), targets).total.backward()
        for name, weight in weights.items():
            decay = 0.016 * weight if name.endswith("conv.weight") or name in ("head32.weight", "head16.weight") else 0
            memory[name] = 0.9 * memory[name] + named[name].grad.numpy() + decay
            weights[name] = weight - lr * memory[name]
        update_weights(learner, lr, unless=torch.zeros(()))
        for name, weight in weights.items():
            np.testing.assert_allclose(named[name].detach().numpy(), weight, rtol=2e-5, atol=2e-6, err_msg=name)


def model_zoo_learner(network: YoloV3Tiny) -> Learner:
    """What recipe modelzoo trains with, from the golden weights; its loss is the one compared above, on both heads."""
    settings = resolve({"recipe": "modelzoo", "data": "d", "image_size": 416}).settings
    record = ModelRecord(dialect=MINDSPORE, class_names=tuple(map(str, range(80))), category_ids=tuple(range(80)))
    learner = build.make_learner(settings, record, 1, torch.device("cpu"))
    learner.model.load_state_dict(network.state_dict())
    of_head = {"anchors", "strides", "head_weights"}
    for field in fields(DetectionLoss):
        if field.name not in of_head:
            assert getattr(learner.loss, field.name) == getattr(model_zoo_loss(0), field.name), field.name
    assert (learner.loss.strides, learner.loss.head_weights) == (STRIDES, (4, 1))
    return replace(learner, model=learner.model.train())


def golden_classes(inputs, size: str, pair: tuple[str, str], head: int) -> np.ndarray:
    """(2, H, W, A): how many classes the original's target names at each prediction."""
    return np.stack([(inputs[f"{size}_{name}__out{head}"][..., 5:] > 0).sum(-1) for name in pair])


def model_zoo_loss(head: int) -> DetectionLoss:
    return DetectionLoss(
        anchors=(ANCHORS[head],),
        strides=(STRIDES[head],),
        dialect=MINDSPORE,
        assigner=BestAnchors(),
        box_loss="giou",
        box_weight=4.0,
        head_weights=(1.0,),
        small_box_bonus=True,
        overlap_as_objectness=False,
        ignore_own_head_only=True,
        per_object=False,
    )
