"""KServe's and Triton's V2 protocol: /v2/models/..., tensors as JSON or binary; and reloading, as Triton names it.

Source: kserve/open-inference-protocol (required API, HTTP/REST) and triton-inference-server/server, docs/protocol
(extension_binary_data.md, extension_model_repository.md).
"""

import asyncio
import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

import lookonce
from lookonce.errors import DataError
from lookonce.serving.app import BINARY, DETECTOR_OPTIONS, PROBLEMS, Context, DetectOptions, body_of, parsed_as
from lookonce.serving.app import EXAMPLE as IMAGE
from lookonce.serving.bodies import from_base64, json_object
from lookonce.serving.models import Answer, ServedModel, answer_each
from lookonce.serving.refusals import Refused

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY_SIZE, BINARY_OUTPUT = "binary_data_size", "binary_data_output"
PIXELS, FILES = "images", "files"
INPUTS = (
    {"name": PIXELS, "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
    {"name": FILES, "datatype": "BYTES", "shape": [-1]},
)
# The outputs of an exported file, in its order: datatype, and shape after the number of detections.
OUTPUTS: dict[str, tuple[str, type[np.generic], list[int]]] = {
    "boxes_xyxy": ("FP32", np.float32, [4]),
    "scores": ("FP32", np.float32, []),
    "labels": ("INT64", np.int64, []),
    "image_index": ("INT64", np.int64, []),
}


class Tensor(BaseModel):
    """An input. data: nested lists or one flat list; absent if the values follow the JSON."""

    model_config = ConfigDict(extra="ignore")

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: dict[str, Any] = {}


class Wanted(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Inference(BaseModel):
    """The JSON of a request."""

    id: str = ""
    inputs: list[Tensor]
    outputs: list[Wanted] = []
    parameters: dict[str, Any] = {}


EXAMPLE = {"inputs": [{"name": FILES, "datatype": "BYTES", "shape": [1], "data": [IMAGE]}]}
BODY = body_of(
    {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}, "application/octet-stream": BINARY}
)


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["KServe, Triton"], responses=PROBLEMS)
    _add_health(routes, context)
    _add_models(routes, context)
    _add_repository(routes, context)
    return routes


def _add_health(routes: APIRouter, context: Context) -> None:
    @routes.get("", summary="What the server is")
    async def server() -> dict[str, Any]:
        extensions = ["binary_tensor_data", "model_repository"]
        return {"name": "lookonce", "version": lookonce.__version__, "extensions": extensions}

    @routes.get("/health/live", summary="Whether the server answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", summary="Whether every model takes requests")
    async def ready() -> Response:
        return _ready(context.models.are_ready)


def _add_models(routes: APIRouter, context: Context) -> None:
    @routes.get("/models/{name}", summary="Inputs and outputs of a model")
    @routes.get("/models/{name}/versions/{version}", summary="Inputs and outputs of a version")
    async def metadata(name: str, version: str = "") -> dict[str, Any]:
        model = model_of(context, name, version)
        outputs = [{"name": key, "datatype": kind, "shape": [-1, *more]} for key, (kind, _, more) in OUTPUTS.items()]
        named = {"name": model.name, "versions": [str(model.version)], "platform": "lookonce"}
        return {**named, "inputs": INPUTS, "outputs": outputs, "class_names": model.record.class_names}

    @routes.get("/models/{name}/ready", summary="Whether a model takes requests")
    @routes.get("/models/{name}/versions/{version}/ready", summary="Whether a version takes requests")
    async def model_ready(name: str, version: str = "") -> Response:
        return _ready(model_of(context, name, version).threads.is_alive)

    @routes.post("/models/{name}/infer", summary="Detect objects in tensors of images", openapi_extra=BODY)
    @routes.post("/models/{name}/versions/{version}/infer", summary="Detect with a version", openapi_extra=BODY)
    async def infer(request: Request, name: str, version: str = "") -> Response:
        model = model_of(context, name, version)
        asked, binary = split_body(await request.body(), request.headers.get(HEADER_LENGTH))
        for one in asked.outputs:
            if one.name not in OUTPUTS:
                raise DataError(f"outputs: {one.name!r}; expected some of {', '.join(OUTPUTS)}", value=one.name)
        images = images_of(asked.inputs, binary)
        given = {name: value for name, value in asked.parameters.items() if name in DETECTOR_OPTIONS}
        options = parsed_as(DetectOptions, given)

        async def detect(image: Any) -> Answer:
            return await context.models.detect(image, options.request(), model=model.name)

        return answer_of(model.name, asked, await answer_each(detect, images))


def _add_repository(routes: APIRouter, context: Context) -> None:
    @routes.post("/repository/index", summary="The models")
    async def index() -> list[dict[str, str]]:
        return [
            {"name": model.name, "version": str(model.version), "state": "READY", "reason": ""}
            for model in context.models.by_name.values()
        ]

    @routes.post("/repository/models/{name}/load", summary="Read the weights of a model again")
    async def load(name: str) -> dict[str, str]:
        model = model_of(context, name)
        await asyncio.to_thread(model.reload)
        return {"name": model.name, "version": str(model.version)}


def model_of(context: Context, name: str, version: str = "") -> ServedModel:
    """A served model; 404 for another name or version. A version lasts until the model is reloaded."""
    model = context.models[name]
    if version and version != str(model.version):
        told = f"version: {version}; expected {model.version}, the only one of {name}"
        raise Refused(HTTPStatus.NOT_FOUND, told, setting="version", value=version)
    return model


def _ready(is_ready: bool) -> Response:
    return JSONResponse({"ready": is_ready}, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


def split_body(body: bytes, header_length: str | None) -> tuple[Inference, memoryview]:
    """The request and the binary values after its JSON. header_length: bytes of the JSON, None for all."""
    end = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > end:
            told = f"{HEADER_LENGTH}: {header_length}; expected a number of bytes up to {end}"
            raise DataError(told, value=header_length)
        end = int(header_length)
    return parsed_as(Inference, json_object(body[:end])), memoryview(body)[end:]


def images_of(inputs: Sequence[Tensor], binary: memoryview) -> list[bytes | NDArray[np.uint8]]:
    """Image files, or (H, W, 3) uint8 RGB, of the only input."""
    if len(inputs) != 1 or (inputs[0].name, inputs[0].datatype) not in ((PIXELS, "UINT8"), (FILES, "BYTES")):
        given = ", ".join(f"{one.name} {one.datatype}" for one in inputs) or "none"
        raise DataError(f"inputs: {given}; expected {PIXELS} UINT8 or {FILES} BYTES", setting="inputs")
    (tensor,) = inputs
    size = tensor.parameters.get(BINARY_SIZE)
    if size is not None and size != len(binary):
        told = f"{tensor.name}: {BINARY_SIZE} {size}; expected {len(binary)}, the number of bytes after the JSON"
        raise DataError(told, value=size)
    if tensor.name == FILES:
        items = tensor.data if isinstance(tensor.data, list) else [tensor.data]
        texts = (one for item in items for one in (item if isinstance(item, list) else [item]))
        files = [from_base64(text) or b"" for text in texts] if size is None else _split_files(binary)
        if tensor.shape not in ([len(files)], [len(files), 1]):
            raise DataError(f"{FILES}: shape {tensor.shape}; expected [{len(files)}]", value=tensor.shape)
        return list(files)
    return _pixels(tensor, binary if size is not None else None)


def _pixels(tensor: Tensor, binary: memoryview | None) -> list[bytes | NDArray[np.uint8]]:
    shape = tensor.shape
    is_shape = len(shape) == 4 and shape[3] == 3 and min(shape) > 0
    try:
        values = np.frombuffer(binary, np.uint8) if binary is not None else _bytes_of(tensor.data)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{PIXELS}: data ({error}); expected whole numbers 0 to 255") from error
    if not is_shape or math.prod(shape) != values.size:
        given = f"shape {shape} and {values.size:,} values"
        raise DataError(f"{PIXELS}: {given}; expected [images, height, width, 3] and as many values", value=shape)
    return list(values.reshape(shape))


def _bytes_of(data: Any) -> NDArray[np.uint8]:
    values = np.array(data)
    if not np.issubdtype(values.dtype, np.integer) or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise ValueError(f"{values.dtype} values from {values.min(initial=0)} to {values.max(initial=0)}")
    return values.astype(np.uint8).ravel()


def _split_files(binary: memoryview) -> list[bytes]:
    """Each element of a BYTES tensor: its length in 4 bytes, little-endian, and its bytes."""
    files, at = [], 0
    while at < len(binary):
        length = int.from_bytes(binary[at : at + 4], "little")
        at += 4 + length
        if at > len(binary):
            raise DataError(f"{FILES}: an element of {length:,} bytes; expected at most those that follow")
        files.append(bytes(binary[at - length : at]))
    return files


def answer_of(model: str, asked: Inference, answers: Sequence[Answer]) -> Response:
    """The detections of all images as tensors, those of one image after those of the one before."""
    found = [answer.found.detections for answer in answers]
    index = [np.full(len(one), row, np.int64) for row, one in enumerate(found)]
    values: dict[str, NDArray[Any]] = {
        name: np.concatenate([getattr(one, name) for one in found] or [np.zeros((0, *more), kind)])
        for name, (_, kind, more) in OUTPUTS.items()
        if name != "image_index"
    } | {"image_index": np.concatenate([*index, np.zeros(0, np.int64)])}
    by_default = bool(asked.parameters.get(BINARY_OUTPUT, False))
    wanted = {one.name: bool(one.parameters.get("binary_data", by_default)) for one in asked.outputs}
    outputs, parts = [], []
    for name, is_binary in (wanted or dict.fromkeys(OUTPUTS, by_default)).items():
        entry: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name][0], "shape": list(values[name].shape)}
        if is_binary:
            parts.append(values[name].tobytes())
            entry["parameters"] = {BINARY_SIZE: len(parts[-1])}
        else:
            entry["data"] = values[name].ravel().tolist()
        outputs.append(entry)
    version = {"model_version": str(answers[0].found.version)} if answers else {}
    head = {"model_name": model, **version, **({"id": asked.id} if asked.id else {}), "outputs": outputs}
    text = json.dumps(head).encode()
    if not parts:
        return Response(text, media_type="application/json")
    length = {HEADER_LENGTH: str(len(text))}
    return Response(b"".join([text, *parts]), headers=length, media_type="application/octet-stream")
