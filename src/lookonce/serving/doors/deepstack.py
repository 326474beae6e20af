"""DeepStack and CodeProject.AI: /v1/vision/detection, as Frigate, Blue Iris and Home Assistant ask for it."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from lookonce.errors import LookonceError
from lookonce.serving.app import BINARY, PROBLEMS, Context, Problem, body_of, parsed_as
from lookonce.serving.bodies import FORM, upload_of
from lookonce.serving.gate import UNAUTHORIZED, token_of
from lookonce.serving.models import Answer
from lookonce.serving.refusals import Refused, headers_of, status_of
from lookonce.workflows.predict_request import PredictRequest


class Fields(BaseModel):
    """Fields of the form beside `image`; others, such as `model`, are ignored. api_key: LOOKONCE_TOKEN's value."""

    min_confidence: float | None = Field(None, ge=0, le=1)
    api_key: str = ""


SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": BINARY["schema"],
        "min_confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "api_key": {"type": "string"},
    },
}
FORM_BODY = body_of({FORM: {"schema": SCHEMA}})


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["DeepStack, CodeProject.AI"], responses=PROBLEMS | {400: {"model": Problem}})

    def require_key(request: Request, api_key: str = "") -> None:
        if not any(map(context.rules.is_token, (api_key, token_of(request.headers)))):
            raise Refused(HTTPStatus.UNAUTHORIZED, "api_key: wrong or missing; expected LOOKONCE_TOKEN's", UNAUTHORIZED)

    async def answered(request: Request, model: str) -> Response:
        """Errors as these servers give them: an image that cannot be read has status 400."""
        try:
            return JSONResponse(await detected(request, model))
        except LookonceError as error:
            status = status_of(error)
            status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
            return JSONResponse({"success": False, "error": str(error)}, status, headers_of(error))

    async def detected(request: Request, model: str) -> dict[str, Any]:
        upload = await upload_of(request, takes_json=False)
        fields = parsed_as(Fields, dict(upload.fields))
        require_key(request, fields.api_key)
        content = await context.content_of(upload, None)
        options = PredictRequest("", threshold=fields.min_confidence)
        return as_predictions(await context.models.detect(content, options, model=model, name=upload.name))

    @routes.post("/vision/detection", openapi_extra=FORM_BODY, summary="Detect objects with the first model")
    async def detection(request: Request) -> Response:
        return await answered(request, "")

    @routes.post("/vision/custom/list", summary="Names of the models")
    async def names(request: Request) -> dict[str, Any]:
        require_key(request)
        return {"success": True, "models": list(context.models.by_name)}

    @routes.post("/vision/custom/{model}", openapi_extra=FORM_BODY, summary="Detect objects with a model")
    async def custom(request: Request, model: str) -> Response:
        return await answered(request, model)

    @routes.get("/status/ping", summary="Whether the server answers")
    async def ping() -> dict[str, bool]:
        return {"success": True}

    return routes


def as_predictions(answer: Answer) -> dict[str, Any]:
    """The answer of these servers: highest confidence first, labels in lower case, whole pixels."""
    found = answer.predicted
    predictions = [
        {
            "label": name.lower(),
            "confidence": score,
            **dict(zip(("x_min", "y_min", "x_max", "y_max"), map(round, box), strict=True)),
        }
        for name, score, box in zip(found.names, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True)
    ]
    return {"success": True, "code": 200, "count": len(predictions), "predictions": predictions}
