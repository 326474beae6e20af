"""Roboflow Inference: /infer/object_detection and /model/registry, as inference-sdk asks for them."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from lookonce.boxes import xyxy_to_cxcywh
from lookonce.model.nms import MOST_CANDIDATES
from lookonce.serving.app import EXAMPLE, PROBLEMS, Context, Fraction, body_of, parsed_as
from lookonce.serving.bodies import Upload, from_base64, json_object
from lookonce.serving.models import Answer, answer_each
from lookonce.workflows.predict_request import PredictRequest

TASK = "object-detection"
MOST_IMAGES = 16  # of a request; inference-sdk sends one, unless it is told otherwise


class Given(BaseModel):
    """value: the image file in base64, or its URL."""

    type: Literal["base64", "url"]
    value: str


class Asked(BaseModel):
    """Other fields, such as those of active learning, are ignored."""

    model_id: str
    image: Given | Annotated[list[Given], Field(min_length=1, max_length=MOST_IMAGES)]
    confidence: Fraction | None = None
    iou_threshold: Fraction | None = None
    max_detections: Annotated[int, Field(ge=1)] | None = None
    class_agnostic_nms: bool | None = None
    class_filter: list[str] | None = None

    def request(self) -> PredictRequest:
        """The same as options of `lookonce predict`."""
        return PredictRequest(
            "",
            threshold=self.confidence,
            iou_threshold=self.iou_threshold,
            # No more remain after NMS, so a larger number means the same.
            max_detections=None if self.max_detections is None else min(self.max_detections, MOST_CANDIDATES),
            agnostic=self.class_agnostic_nms,
            classes=",".join(self.class_filter) if self.class_filter else None,
        )


class Model(BaseModel):
    model_id: str


IMAGE = {
    "type": "object",
    "required": ["type", "value"],
    "properties": {"type": {"enum": ["base64", "url"]}, "value": {"type": "string"}},
}
SCHEMA = {
    "type": "object",
    "required": ["model_id", "image"],
    "properties": {
        "model_id": {"type": "string"},
        "image": {"anyOf": [IMAGE, {"type": "array", "items": IMAGE}]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "iou_threshold": {"type": "number", "minimum": 0, "maximum": 1},
        "max_detections": {"type": "integer", "minimum": 1},
    },
}
BODY = body_of(
    {
        "application/json": {
            "schema": SCHEMA,
            "example": {"model_id": "model", "image": {"type": "base64", "value": EXAMPLE}},
        }
    }
)


def router(context: Context) -> APIRouter:
    routes = APIRouter(tags=["Roboflow Inference"], responses=PROBLEMS)

    def registry() -> dict[str, Any]:
        """Without the size of the input, which would make the client scale images down before it sends them."""
        return {"models": [{"model_id": name, "task_type": TASK} for name in context.models.by_name]}

    @routes.get("/model/registry", summary="The served models")
    async def models() -> dict[str, Any]:
        return registry()

    @routes.post("/model/add", summary="The served models, if the one that is asked for is among them")
    async def add(model: Model) -> dict[str, Any]:
        _ = context.models[model.model_id]  # raises if it is not served
        return registry()

    @routes.post(
        "/infer/object_detection", summary="Detect objects in an image, or in each of a list", openapi_extra=BODY
    )
    async def infer(request: Request) -> Any:
        asked = parsed_as(Asked, json_object(await request.body()))
        options = asked.request()

        async def detected(given: Given) -> dict[str, Any]:
            began = time.perf_counter()
            is_url = given.type == "url"
            upload = Upload(content=None if is_url else from_base64(given.value))
            content = await context.content_of(upload, given.value if is_url else None)
            answer = await context.models.detect(content, options, model=asked.model_id)
            return as_response(answer) | {"time": time.perf_counter() - began}

        return await (answer_each(detected, asked.image) if isinstance(asked.image, list) else detected(asked.image))

    return routes


def as_response(answer: Answer) -> dict[str, Any]:
    """The answer of that server: boxes by their centre, highest confidence first."""
    found = answer.predicted
    width, height = found.size_wh
    boxes = xyxy_to_cxcywh(found.boxes_xyxy).tolist()
    rows = zip(found.names, found.detections.labels.tolist(), found.scores.tolist(), boxes, strict=True)
    predictions = [
        dict(zip(("x", "y", "width", "height"), box, strict=True))
        | {"confidence": score, "class": name, "class_id": label}
        for name, label, score, box in rows
    ]
    return {"image": {"width": width, "height": height}, "predictions": predictions}
