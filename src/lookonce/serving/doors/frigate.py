"""Frigate's zmq detector: a ZeroMQ socket that replies to each frame with its detections.

Source: blakeblackshear/frigate, frigate/detectors/plugins/zmq_ipc.py. A request is [JSON with shape and dtype, pixels];
its reply is [JSON, 20 rows of float32: label, score, top, left, bottom, right, as fractions of the frame]. Since 0.17
Frigate first asks whether the model is there.
"""

import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger
from lookonce.serving.bodies import json_object
from lookonce.serving.models import ServedModel
from lookonce.workflows.predict_request import PredictRequest

ROWS = 20  # of Frigate's arrays; unused rows are 0
MILLISECONDS = 100  # until the end of the server is noticed


@contextmanager
def answering(endpoint: str, model: ServedModel, seconds: float) -> Iterator[None]:
    """Inside the block a thread answers Frigate at the endpoint, such as tcp://127.0.0.1:5555 or ipc:///tmp/zmq."""
    ended = threading.Event()
    with zmq.Context() as context, context.socket(zmq.REP) as replies:
        try:
            replies.bind(endpoint)
        except zmq.ZMQError as error:
            told = f"zmq: {endpoint} cannot be used ({error}); expected a free address, e.g. tcp://127.0.0.1:5555"
            raise SettingsError(told, setting="zmq", value=endpoint) from error
        get_logger().info("answering Frigate at %s", replies.getsockopt_string(zmq.LAST_ENDPOINT))

        def answer() -> None:
            while not ended.is_set():
                if replies.poll(MILLISECONDS):
                    replies.send_multipart(reply_to(replies.recv_multipart(), model, seconds))

        thread = threading.Thread(target=answer, name="lookonce-zmq")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def reply_to(frames: Sequence[bytes], model: ServedModel, seconds: float) -> list[bytes]:
    """The frames of a reply; for a frame that cannot be detected on, no detections, and a warning in the log."""
    rows = np.zeros((ROWS, 6), np.float32)
    try:
        header = json_object(frames[0])
        if "model_request" in header or "model_data" in header:
            is_request = "model_request" in header  # the server has its own weights, and takes no others
            return [json.dumps({"model_available": is_request, "model_loaded": is_request}).encode()]
        image = _image_of(header, frames[1:])
        waiting = model.threads.submit(image, PredictRequest(""), deadline=time.monotonic() + seconds)
        found = waiting.result(seconds).detections
        height, width = image.shape[:2]
        fractions = found.boxes_xyxy[:, [1, 0, 3, 2]] / np.array([height, width, height, width], np.float32)
        values = np.column_stack([found.labels, found.scores, fractions])[:ROWS]
        rows[: len(values)] = values
    except Exception as error:  # noqa: BLE001 (without a reply the socket would take no further request)
        get_logger().warning("frame of Frigate: %s", error or type(error).__name__)
    return [json.dumps({"shape": rows.shape, "dtype": "float32"}).encode(), rows.tobytes()]


def _image_of(header: dict[str, Any], pixels: Sequence[bytes]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a tensor (1, H, W, 3) or (1, 3, H, W)."""
    shape, kind = header.get("shape"), header.get("dtype")
    is_shape = isinstance(shape, list) and len(shape) == 4 and all(isinstance(side, int) and side > 0 for side in shape)
    if not is_shape or shape is None or shape[0] != 1 or 3 not in (shape[1], shape[3]) or kind != "uint8":
        told = (
            f"shape {shape}, dtype {kind}; expected [1, height, width, 3] and uint8: input_dtype int, input_tensor nhwc"
        )
        raise DataError(told, value=shape)
    if len(pixels) != 1 or len(pixels[0]) != math.prod(shape):
        raise DataError(f"{sum(map(len, pixels))} bytes; expected {math.prod(shape)} for shape {shape}", value=shape)
    image = np.frombuffer(pixels[0], np.uint8).reshape(shape)[0]
    return image if shape[3] == 3 else np.ascontiguousarray(image.transpose(1, 2, 0))
