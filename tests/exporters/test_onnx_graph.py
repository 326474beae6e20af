"""The ONNX graph of the network computes what the network, its preprocessing and its decoding compute in PyTorch."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lookonce.exporters.onnx import build_onnx
from lookonce.exporters.plan import ExportPlan
from lookonce.model.decode import decode_heads
from lookonce.model.normalise import to_network_input
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing

WIDTHS = st.sampled_from(
    [
        (1, 2, 3, 5, 4, 6, 7, 5, 3, 2, 4),
        (4, 4, 4, 4, 4, 4, 4, 0, 4, 4, 4),
        (4, 4, 4, 4, 4, 4, 4, 3, 0, 4, 4),
        (2, 3, 4, 5, 6, 7, 8, 6, 5, 4, 3, 2, 1),  # a third head
    ]
)
PREPROCESSINGS = st.builds(
    Preprocessing,
    color_order=st.sampled_from(["RGB", "BGR"]),
    mean=st.sampled_from([(0.0, 0.0, 0.0), (0.485, 0.456, 0.406)]),
    std=st.sampled_from([(1.0, 1.0, 1.0), (0.229, 0.224, 0.225)]),
)


@st.composite
def networks(draw: st.DrawFn, dialect: str) -> tuple[YoloV3Tiny, ModelRecord]:
    channels, num_classes = draw(WIDTHS), draw(st.sampled_from([1, 2]))
    masks = draw(st.sampled_from([((3, 4, 5), (0, 1, 2)), ((1,), (0, 2))]))
    strides = (32, 16)
    if len(channels) == 13:
        masks, strides = (*masks, (0, 5)), (32, 16, 8)
    rule = DIALECTS[dialect].model_copy(
        update={
            "activation": draw(st.sampled_from(["leaky", "relu", "silu"])),
            "pool_edge": draw(st.sampled_from(["repeat", "zero", "none"])),
            "center_scales": DIALECTS[dialect].center_scales | {8: 1.05},
        }
    )
    record = ModelRecord(
        dialect=rule,
        channels=channels,
        class_names=tuple(map(str, range(num_classes))),
        category_ids=tuple(range(num_classes)),
        strides=strides,
        masks=masks,
        image_size=draw(st.sampled_from([(32, 32), (64, 96)])),
        preprocessing=draw(PREPROCESSINGS),
    )
    model = YoloV3Tiny(
        num_classes,
        channels=channels,
        num_anchors=[len(mask) for mask in masks],
        activation=rule.activation,
        batchnorm_eps=rule.batchnorm_eps,
        pool_edge=rule.pool_edge,
    ).eval()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.2, 1, generator=generator)
        elif value.is_floating_point():
            value.normal_(0, 0.1 if name.startswith("head") else 0.5, generator=generator)
    return model, record


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
@settings(max_examples=8, phases=[Phase.generate])
def test_the_graph_computes_what_pytorch_computes(dialect, data):
    model, record = data.draw(networks(dialect))
    plan = ExportPlan(
        outputs=data.draw(st.sampled_from(["decoded", "raw"])),
        batch=data.draw(st.sampled_from([0, 2])),
        dynamic_size=data.draw(st.booleans()),
        preprocess=data.draw(st.booleans()),
    )
    proto = build_onnx(model, record, plan)
    onnx.checker.check_model(proto, full_check=True)
    height, width = record.image_size
    images = np.random.default_rng(0).integers(0, 256, (2, height + 32 * plan.dynamic_size, width, 3), np.uint8)
    with torch.inference_mode():
        pixels = to_network_input(torch.from_numpy(images), record.preprocessing)
        expected = model(pixels)
        if plan.outputs == "decoded":
            boxes_xyxy, objectness, classes = decode_heads(
                expected, anchor_tensors(record), record.strides, record.dialect
            )
            expected = [boxes_xyxy, objectness[..., None] * classes]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    found = session.run(None, {"images": images if plan.preprocess else pixels.contiguous().numpy()})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
