"""The door of Frigate's zmq detector, asked as zmq_ipc.py asks."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import zmq
from colours_served import save_colours
from numpy.typing import NDArray
from raised import raises

import lookonce
from lookonce.errors import SettingsError
from lookonce.serving.batching import Limits
from lookonce.serving.doors.frigate import answering
from lookonce.serving.models import ServedModel, Source
from lookonce.serving.serve import serve

FRAME = np.full((1, 32, 64, 3), (250, 80, 140), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    weights = save_colours(tmp_path_factory.mktemp("weights") / "colours.onnx")
    served = ServedModel("colours", Source(path=weights), Limits(), lambda _batch: None)
    yield served
    served.threads.close()


@pytest.fixture(scope="module")
def requests(model: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    endpoint = f"ipc://{tmp_path_factory.mktemp('z')}/s"
    with (
        answering(endpoint, model, 20),
        zmq.Context() as context,
        context.socket(zmq.REQ) as socket,
    ):
        socket.setsockopt(zmq.RCVTIMEO, 20_000)
        socket.connect(endpoint)
        yield socket


def detections(requests: Any, frame: NDArray[Any], **header: Any) -> NDArray[np.float32]:
    requests.send_multipart(
        [json.dumps({"shape": frame.shape, "dtype": frame.dtype.name, **header}).encode(), frame.tobytes()]
    )
    head, values = requests.recv_multipart()
    assert json.loads(head) == {"shape": [20, 6], "dtype": "float32"}
    return np.frombuffer(values, np.float32).reshape(20, 6)


def test_rows_are_label_score_and_fractions_of_the_frame(requests: Any, model: ServedModel) -> None:
    found = lookonce.load(model.source.path).detect([FRAME[0]])[0]
    assert len(found) == 3
    for frame in (FRAME, np.ascontiguousarray(FRAME.transpose(0, 3, 1, 2))):
        rows = detections(requests, frame)
        assert rows[:3, 0].tolist() == found.labels.tolist()
        assert rows[:3, 1].tolist() == found.scores.tolist()
        corners = rows[:3, [3, 2, 5, 4]] * np.array([64, 32, 64, 32], np.float32)
        np.testing.assert_allclose(corners, found.boxes_xyxy, atol=1e-5)
        assert not rows[3:].any()


@pytest.mark.parametrize(
    ("frame", "header"),
    [
        (FRAME.astype(np.float32), {}),
        (FRAME, {"shape": [1, 3, 3, 3]}),
        (FRAME, {"shape": "x"}),
        (FRAME, {"shape": [1, 32, 64, -3]}),
        (FRAME[0], {}),
    ],
)
def test_what_is_no_frame_gets_no_detections_and_the_next_is_answered(
    frame: NDArray[Any], header: dict[str, Any], requests: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert not detections(requests, frame, **header).any()
    assert "shape" in caplog.text
    assert detections(requests, FRAME).any()


@pytest.mark.parametrize(
    ("header", "is_there"), [({"model_request": True, "model_name": "a"}, True), ({"model_data": True}, False)]
)
def test_the_model_is_there_and_none_is_taken(header: dict[str, Any], is_there: bool, requests: Any) -> None:
    requests.send_multipart([json.dumps(header).encode()])
    (reply,) = requests.recv_multipart()
    assert json.loads(reply) == {"model_available": is_there, "model_loaded": is_there}


@pytest.mark.parametrize("frames", [[b"{"], [b""], [b"{}"], [b"{}", b"1", b"2"]])
def test_other_messages_get_no_detections(frames: list[bytes], requests: Any) -> None:
    requests.send_multipart(frames)
    assert not np.frombuffer(requests.recv_multipart()[1], np.float32).any()


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:5555", "tcp://*:5555", "udp://127.0.0.1:5", "5555"])
def test_an_address_that_others_reach_is_refused(endpoint: str, model: ServedModel) -> None:
    with raises(SettingsError, setting="zmq", value=endpoint):
        serve(weights=(model.source.path,), zmq=endpoint)


def test_an_address_that_cannot_be_used_is_named(model: ServedModel) -> None:
    with raises(SettingsError, setting="zmq", value="tcp://192.0.2.1:1"), answering("tcp://192.0.2.1:1", model, 1):
        pass
