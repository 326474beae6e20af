"""Label Studio's machine learning backend: /predict, predictions for its tasks, with the first model.

Source: HumanSignal/label-studio-ml-backend, label_studio_ml/api.py (the paths and their JSON), and the rectangles of
Label Studio's results, in percent of the image.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET

from fastapi import APIRouter, Request
from pydantic import BaseModel

from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger
from lookonce.remote.urls import NO_HEADERS
from lookonce.serving.app import EXAMPLE as IMAGE
from lookonce.serving.app import PROBLEMS, Context, body_of, parsed_as
from lookonce.serving.bodies import fetch, from_base64, json_object
from lookonce.serving.models import Answer, answer_each
from lookonce.workflows.predict_request import PredictRequest

# Where Label Studio is, for tasks that name its own files, and the token of a user; label-studio-sdk's names.
URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"


class Task(BaseModel):
    data: dict[str, Any]
    id: int | str | None = None


class Tasks(BaseModel):
    tasks: list[Task]
    label_config: str


@dataclass(frozen=True, kw_only=True)
class Rectangles:
    """What a labelling interface calls its rectangles: from_name, to_name, the key of the image among a task's data,
    and class name in lower case -> label."""

    from_name: str
    to_name: str
    key: str
    labels: Mapping[str, str]


CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="person"/>'
    "</RectangleLabels></View>"
)
EXAMPLE = {"tasks": [{"id": 1, "data": {"image": f"data:image/png;base64,{IMAGE}"}}], "label_config": CONFIG}
TASK = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object"}}}
SCHEMA = {
    "type": "object",
    "required": ["tasks", "label_config"],
    "properties": {"tasks": {"type": "array", "items": TASK}, "label_config": {"type": "string"}},
}
BODY = body_of({"application/json": {"schema": SCHEMA, "example": EXAMPLE}})


def router(context: Context) -> APIRouter:
    routes = APIRouter(tags=["Label Studio"], responses=PROBLEMS)

    def version() -> str:
        model = context.models[""]
        return f"{model.name}-{model.version}"

    @routes.get("/health", summary="Whether the server answers")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "lookonce"}

    @routes.post("/setup", summary="The version of the model")
    async def setup() -> dict[str, str]:
        return {"model_version": version()}

    @routes.post("/webhook", status_code=HTTPStatus.CREATED, summary="Takes Label Studio's events, and ignores them")
    async def webhook() -> dict[str, str]:
        return {}

    @routes.post("/predict", summary="Predictions for tasks", openapi_extra=BODY)
    async def predict(request: Request) -> dict[str, Any]:
        asked = parsed_as(Tasks, json_object(await request.body()))
        rectangles = rectangles_of(asked.label_config)

        async def result(task: Task) -> dict[str, Any]:
            return {**await _result(context, task, rectangles), "model_version": version()}

        return {"results": await answer_each(result, asked.tasks), "model_version": version()}

    return routes


async def _result(context: Context, task: Task, rectangles: Rectangles) -> dict[str, Any]:
    """The prediction of a task; an empty one for an image that cannot be read, so that the others get theirs."""
    try:
        content = await _content_of(context, str(task.data.get(rectangles.key, "")))
        answer = await context.models.detect(content, PredictRequest(""), name=f"task {task.id}")
    except DataError as error:
        get_logger().warning("task %s: %s", task.id, error)
        return {"result": [], "score": 0.0}
    return as_result(answer, rectangles)


async def _content_of(context: Context, place: str) -> bytes:
    """The image of a data: URL, of a URL on an allowed host, or of a path on LABEL_STUDIO_URL."""
    if place.startswith("data:"):
        return from_base64(place) or b""
    own, hosts, headers = os.environ.get(URL, ""), list(context.hosts), NO_HEADERS
    if own and urlsplit(urljoin(own, place))[:2] == urlsplit(own)[:2]:
        place, headers = urljoin(own, place), {"Authorization": f"Token {os.environ.get(KEY, '')}"}
        hosts.append(urlsplit(own).hostname or "")
    limits = {"max_bytes": context.rules.max_bytes, "seconds": context.rules.seconds}
    return await context.models.in_worker(fetch, place, hosts, headers=headers, **limits)


def rectangles_of(label_config: str) -> Rectangles:
    """The first RectangleLabels of a labelling interface (XML), and the Image that it belongs to."""
    try:
        if "<!" in re.sub("<!--.*?-->", "", label_config, flags=re.DOTALL):
            raise ET.ParseError("a document type, which may expand to any size")
        root = ET.fromstring(label_config)
    except ET.ParseError as error:
        raise SettingsError(f"label_config: {error}; expected XML", setting="label_config") from error
    for tag in root.iter("RectangleLabels"):
        image = next((one for one in root.iter("Image") if one.get("name") == tag.get("toName")), None)
        if image is not None:
            labels: dict[str, str] = {}
            for label in tag.iter("Label"):
                own = label.get("value", "")
                # Names further classes of a label, as in Label Studio's own examples of backends.
                others = label.get("predicted_values", "").split(",")
                labels |= {name.strip().lower(): own for name in (*others, own)}
            names = {"from_name": tag.get("name", ""), "to_name": tag.get("toName", "")}
            return Rectangles(**names, key=image.get("value", "").lstrip("$"), labels=labels)
    raise SettingsError("label_config: no RectangleLabels of an Image; expected one", setting="label_config")


def as_result(answer: Answer, rectangles: Rectangles) -> dict[str, Any]:
    """A prediction: rectangles in percent of the image; score: the mean of theirs. Other classes are left out."""
    found = answer.predicted
    width, height = found.size_wh
    regions: list[dict[str, Any]] = []
    for name, score, box in zip(found.names, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True):
        if name.lower() not in rectangles.labels:
            continue
        left, top, right, bottom = box
        value = {
            "x": 100 * left / width,
            "y": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
            "rotation": 0,
            "rectanglelabels": [rectangles.labels[name.lower()]],
        }
        names = {"from_name": rectangles.from_name, "to_name": rectangles.to_name, "type": "rectanglelabels"}
        sizes = {"original_width": width, "original_height": height, "image_rotation": 0}
        regions.append({"id": str(len(regions)), **names, **sizes, "value": value, "score": score})
    scores = [region["score"] for region in regions]
    return {"result": regions, "score": sum(scores) / max(len(scores), 1)}
