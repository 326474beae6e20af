"""The door of KServe and Triton: tensors as JSON and binary, models, versions and reloading."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours_served import Reply, Served, image_of, served
from numpy.typing import NDArray

from lookonce.data.images import read_image
from lookonce.serving.doors.kserve import HEADER_LENGTH

FILES = [image_of(250, 80, 140), image_of(20, 250, 20), image_of(0, 0, 0)]
IMAGES = np.stack([read_image(file) for file in FILES])
LENGTH = HEADER_LENGTH.replace("-", "_")
NUMPY = {"FP32": np.float32, "INT64": np.int64}


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Served]:
    with served(weights, max_queue=200) as running:
        yield running


@pytest.fixture(scope="module")
def wanted(server: Served) -> dict[str, Any]:
    """What /detect returns for each file, as tensors."""
    found = [server.post("/detect", file).json["detections"] for file in FILES]
    return {
        "boxes_xyxy": [one["box_xyxy"] for row in found for one in row],
        "scores": [one["score"] for row in found for one in row],
        "labels": [one["label"] for row in found for one in row],
        "image_index": [index for index, row in enumerate(found) for _ in row],
    }


def files_input(**more: Any) -> dict[str, Any]:
    return {"name": "files", "datatype": "BYTES", "shape": [len(FILES)], **more}


def pixels_input(**more: Any) -> dict[str, Any]:
    return {"name": "images", "datatype": "UINT8", "shape": list(IMAGES.shape), **more}


def tensors(reply: Reply) -> dict[str, NDArray[Any]]:
    """The outputs of an answer, from JSON or the bytes after it."""
    assert reply.status == 200, reply.body
    length = int(reply.headers.get(HEADER_LENGTH.lower(), len(reply.body)))
    head, at, found = json.loads(reply.body[:length]), length, {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        values = np.array(output["data"]) if size is None else None
        if values is None:
            values = np.frombuffer(reply.body[at : at + size], NUMPY[output["datatype"]])
            at += size
        found[output["name"]] = values.reshape(output["shape"])
    assert at == len(reply.body)
    return found


def infer(server: Served, tensor: dict[str, Any], binary: bytes = b"", **more: Any) -> Reply:
    head = json.dumps({"inputs": [tensor], **more}).encode()
    headers = {LENGTH: str(len(head))} if binary else {}
    return server.post("/v2/models/colours/infer", head + binary, **headers)


def as_elements(files: list[bytes]) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


BINARY = as_elements(FILES)
WAYS = {
    "files in JSON": (files_input(data=[base64.b64encode(file).decode() for file in FILES]), b""),
    "files": (files_input(parameters={"binary_data_size": len(BINARY)}), BINARY),
    "pixels in JSON": (pixels_input(data=IMAGES.tolist()), b""),
    "flat pixels in JSON": (pixels_input(data=IMAGES.ravel().tolist()), b""),
    "pixels": (pixels_input(parameters={"binary_data_size": IMAGES.nbytes}), IMAGES.tobytes()),
}


@pytest.mark.parametrize("way", WAYS)
def test_detections_equal_those_of_detect(way: str, server: Served, wanted: dict[str, Any]) -> None:
    tensor, binary = WAYS[way]
    for more in ({}, {"parameters": {"binary_data_output": True}}):
        found = tensors(infer(server, tensor, binary, id="7", **more))
        assert list(found) == list(wanted)
        for name, values in found.items():
            np.testing.assert_array_equal(values, np.array(wanted[name], values.dtype))


def test_outputs_and_thresholds_are_chosen(server: Served) -> None:
    tensor, binary = WAYS["files"]
    outputs = [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "labels"}]
    parameters = {"threshold": 0.9, "sequence_id": 3}
    found = tensors(infer(server, tensor, binary, outputs=outputs, parameters=parameters))
    assert list(found) == ["scores", "labels"]
    assert found["labels"].tolist() == [0, 1]


def test_images_without_detections_give_empty_tensors(server: Served) -> None:
    tensor = {"name": "files", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(FILES[2]).decode()]}
    shapes = {name: values.shape for name, values in tensors(infer(server, tensor)).items()}
    assert shapes == {"boxes_xyxy": (0, 4), "scores": (0,), "labels": (0,), "image_index": (0,)}
    assert tensors(infer(server, {**tensor, "shape": [0], "data": []}))["boxes_xyxy"].shape == (0, 4)


@pytest.mark.parametrize(
    ("tensor", "binary"),
    [
        ({"name": "other", "datatype": "UINT8", "shape": [1], "data": [1]}, b""),
        (pixels_input(data=[1, 2]), b""),
        (pixels_input(data=[[1], [2, 3]]), b""),
        (pixels_input(data="x"), b""),
        ({"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 256]}, b""),
        ({"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, -1]}, b""),
        ({"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 0.5]}, b""),
        ({"name": "images", "datatype": "UINT8", "shape": [-1, -1, 1, 3], "data": [1, 2, 3]}, b""),
        ({"name": "images", "datatype": "UINT8", "shape": [0, 9, 9, 3], "data": []}, b""),
        (pixels_input(parameters={"binary_data_size": 4}), b"1234"),
        (pixels_input(parameters={"binary_data_size": 9}), b"1234"),
        (files_input(parameters={"binary_data_size": 4}), b"\xff\xff\xff\xff"),
        (files_input(parameters={"binary_data_size": 3}), b"\0\0\0"),
        (files_input(data=["?"] * 3), b""),
        (files_input(data=["hello"] * 3), b""),
        (files_input(data=[]), b""),
        ({"name": "files"}, b""),
    ],
)
def test_a_wrong_tensor_is_refused(tensor: dict[str, Any], binary: bytes, server: Served) -> None:
    reply = infer(server, tensor, binary)
    assert (reply.status, "error" in reply.json) == (422, True), reply.body
    assert server.post("/detect", FILES[0]).status == 200


@pytest.mark.parametrize("length", ["-1", "x", "999999"])
def test_a_wrong_length_of_the_json_is_refused(length: str, server: Served) -> None:
    assert server.post("/v2/models/colours/infer", b"{}", **{LENGTH: length}).status == 422


def test_unknown_names_are_refused(server: Served) -> None:
    tensor, binary = WAYS["files"]
    assert infer(server, tensor, binary, outputs=[{"name": "other"}]).status == 422
    assert infer(server, tensor, binary, parameters={"threshold": 2}).status == 422
    for path in ("/v2/models/other", "/v2/models/colours/versions/9", "/v2/models/other/ready"):
        assert server.get(path).status == 404


def test_metadata_describes_inputs_and_outputs(server: Served) -> None:
    assert server.get("/v2").json["name"] == "lookonce"
    assert [server.get(f"/v2/health/{path}").status for path in ("live", "ready")] == [200, 200]
    described = server.get("/v2/models/colours/versions/1").json
    assert described == server.get("/v2/models/colours").json
    assert (described["name"], described["versions"]) == ("colours", ["1"])
    assert described["inputs"][0] == {"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
    assert described["outputs"][0] == {"name": "boxes_xyxy", "datatype": "FP32", "shape": [-1, 4]}
    assert server.get("/v2/models/colours/versions/1/ready").json == {"ready": True}


def test_a_reload_changes_the_version(weights: Path) -> None:
    with served(weights) as server:
        reply = server.post("/v2/repository/models/colours/load", {"parameters": {}})
        assert reply.json == {"name": "colours", "version": "2"}
        assert server.get("/v2/models/colours").json["versions"] == ["2"]
        assert server.get("/v2/models/colours/versions/1").status == 404
        index = server.post("/v2/repository/index").json
        assert index == [{"name": "colours", "version": "2", "state": "READY", "reason": ""}]
        content = weights.read_bytes()
        weights.write_bytes(b"damaged")
        assert server.post("/v2/repository/models/colours/load").status == 422
        weights.write_bytes(content)
        assert server.post("/detect", FILES[0]).json["version"] == 2
