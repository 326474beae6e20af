"""The selection of detections inside exported graphs is that of model/nms.py, to the last bit."""

import numpy as np
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.exporters.onnx import selection_graph
from lookonce.model.nms import select_detections
from lookonce.runtimes.onnx import open_session


def open_graph(multi_label: bool, agnostic: bool = False):
    proto = onnx.parser.parse_model(selection_graph(multi_label=multi_label, agnostic=agnostic))
    onnx.checker.check_model(proto, full_check=True)
    return open_session(proto.SerializeToString(), "selection", threads=1)


@pytest.fixture(scope="module")
def graph():
    return open_graph(multi_label=True)


@pytest.fixture(scope="module")
def single_label_graph():
    return open_graph(multi_label=False)


@pytest.fixture(scope="module")
def agnostic_graphs():
    return {multi_label: open_graph(multi_label, agnostic=True) for multi_label in (True, False)}


def compare(
    graph, boxes_xyxy, scores, *, score_threshold=0.1, iou_threshold=0.5, max_detections=50, **selection
) -> list[int]:
    """Asserts that graph and reference agree on (B, N, 4) and (B, N, C); returns the number found in each picture."""
    got = graph.run(
        None,
        {
            "decoded_boxes_xyxy": boxes_xyxy,
            "decoded_scores": scores,
            "score_threshold": np.array(score_threshold, np.float32),
            "iou_threshold": np.array(iou_threshold, np.float32),
            "max_detections": np.array(max_detections, np.int64),
        },
    )
    for row in range(len(boxes_xyxy)):
        expected = select_detections(
            boxes_xyxy[row],
            scores[row],
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            **selection,
        )
        of_this = got[3] == row
        np.testing.assert_array_equal(got[0][of_this], expected.boxes_xyxy)
        np.testing.assert_array_equal(got[1][of_this], expected.scores)
        np.testing.assert_array_equal(got[2][of_this], expected.labels)
    assert (np.diff(got[3]) >= 0).all()
    return np.bincount(got[3], minlength=len(boxes_xyxy)).tolist()


def draw_case(generator: np.random.Generator, batch: int, num_boxes: int, num_classes: int, levels: int):
    """Boxes that overlap a lot; scores of few levels are full of ties."""
    corners = generator.uniform(0, 60, (batch, num_boxes, 2))
    boxes_xyxy = np.concatenate([corners, corners + generator.uniform(5, 60, (batch, num_boxes, 2))], axis=-1)
    scores = generator.integers(0, levels + 1, (batch, num_boxes, num_classes)) / levels
    return boxes_xyxy.astype(np.float32), scores.astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    num_boxes=st.integers(1, 60),
    num_classes=st.integers(1, 5),
    levels=st.sampled_from([3, 1000000]),
    max_detections=st.integers(1, 30),
    iou_threshold=st.sampled_from([0.3, 0.5, 0.7]),
)
def test_any_boxes_and_scores(
    graph,
    single_label_graph,
    agnostic_graphs,
    seed,
    batch,
    num_boxes,
    num_classes,
    levels,
    max_detections,
    iou_threshold,
):
    case = draw_case(np.random.default_rng(seed), batch, num_boxes, num_classes, levels)
    options = {"max_detections": max_detections, "iou_threshold": iou_threshold}
    compare(graph, *case, **options)
    compare(single_label_graph, *case, **options, multi_label=False)
    for multi_label, agnostic_graph in agnostic_graphs.items():
        compare(agnostic_graph, *case, **options, multi_label=multi_label, agnostic=True)


def test_at_most_2000_candidates_of_an_image_go_into_suppression(graph):
    # 90 boxes * 30 classes = 2,700 pairs; an overlap is never over 1, so nothing is suppressed.
    case = draw_case(np.random.default_rng(0), 2, 90, 30, 1000000)
    assert compare(graph, *case, score_threshold=-1, iou_threshold=1.0, max_detections=5000) == [2000, 2000]


def test_a_score_at_the_threshold_is_not_over_it(graph):
    boxes_xyxy = np.array([[[0, 0, 10, 10], [20, 20, 30, 30]]], np.float32)
    scores = np.array([[[0.25], [np.nextafter(np.float32(0.25), np.float32(1))]]], np.float32)
    assert compare(graph, boxes_xyxy, scores, score_threshold=0.25) == [1]


def test_one_box_may_be_two_classes_and_classes_do_not_suppress_each_other(graph):
    boxes_xyxy = np.array([[[0, 0, 10, 10], [0, 0, 10, 10]]], np.float32)
    scores = np.array([[[0.9, 0.8], [0.7, 0.85]]], np.float32)
    assert compare(graph, boxes_xyxy, scores) == [2]


def test_a_single_label_graph_keeps_the_best_class_of_each_box_and_of_equal_ones_the_first(single_label_graph):
    boxes_xyxy = np.array([[[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]]], np.float32)
    scores = np.array([[[0.9, 0.8], [0.6, 0.6], [0, 0]]], np.float32)
    assert compare(single_label_graph, boxes_xyxy, scores, multi_label=False) == [2]


def test_an_image_with_nothing_beside_one_with_something(graph):
    boxes_xyxy = np.tile(np.array([[0, 0, 10, 10]], np.float32), (3, 1, 1))
    scores = np.array([0, 0.9, 0], np.float32).reshape(3, 1, 1)
    assert compare(graph, boxes_xyxy, scores) == [0, 1, 0]
