"""The HTTP application: /detect for predictions, health, metrics, OpenAPI, the page, and doors of other programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException

import lookonce
from lookonce.errors import DataError, LookonceError, SettingsError, shortened
from lookonce.model.nms import MOST_CANDIDATES
from lookonce.serving.bodies import FORM, JSON, Upload, fetch, upload_of
from lookonce.serving.gate import Gate, Rules
from lookonce.serving.metrics import Metrics
from lookonce.serving.models import Answer, Models
from lookonce.serving.refusals import Refused, response_to
from lookonce.settings.names import suggestion
from lookonce.shown import to_json
from lookonce.web.server import CONTENT_TYPES
from lookonce.web.site import headers as page_headers
from lookonce.workflows.predict_request import PredictRequest

Parsed = TypeVar("Parsed", bound=BaseModel)
Absent = SkipJsonSchema[None]  # not given; the schema says "not required" instead of "or null"
Fraction = Annotated[float, Field(ge=0, le=1)]
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
DETECTOR_OPTIONS = {"threshold", "iou_threshold", "max_detections", "classes"}  # of DetectOptions
# A PNG of 8x8 grey pixels: an example that works.
EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mNogAIGyhgAgIQgARDoahcAAAAASUVORK5CYII="
FORM_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Detect objects</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; }
body { max-width: 40rem; margin: 0 auto; padding: 20px 16px; font: 16px/1.5 system-ui, sans-serif; }
input, button { font: inherit; max-width: 100%; }
button { min-height: 44px; padding: 7px 14px; margin: 0 4px 8px 0; }
label { display: block; }
</style>
<body>
<h1>Detect objects</h1>
<form action="detect" method="post" enctype="multipart/form-data">
<p><label>Image <input type="file" name="file" accept="image/*" required></label></p>
<p><label>Confidence threshold, 0 to 1; empty: that of the weights
<input type="number" name="threshold" min="0" max="1" step="any"></label></p>
<p><button name="format" value="jpeg">Show the annotated image</button> <button>Show JSON</button></p>
</form>
<p><a href="openapi.json">Description of the interface (OpenAPI)</a></p>
</body>
</html>
"""
FORM_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'"
}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the doors share. hosts: whose URLs are fetched."""

    models: Models
    rules: Rules
    metrics: Metrics
    hosts: Sequence[str] = ()

    async def content_of(self, upload: Upload, url: str | None) -> bytes:
        """The image file of an upload or a URL, exactly one of them; DataError for none or both."""
        if (upload.content is None) == (url is None):
            found = "none" if url is None else "an image and a URL"
            raise DataError(f"image: {found}; expected one: the body, a file of a form, or image or url in JSON")
        if url is None:
            assert upload.content is not None
            return upload.content
        limits = {"max_bytes": self.rules.max_bytes, "seconds": self.rules.seconds}
        return await self.models.in_worker(fetch, url, self.hosts, **limits)


def optional(description: str) -> Any:
    """A field that may be absent; its default, None, is not in the schema."""

    def without_default(schema: dict[str, Any]) -> None:
        schema.pop("default", None)

    return Field(None, description=description, json_schema_extra=without_default)


class DetectOptions(BaseModel):
    """Options of /detect, in the query, the form or the JSON; defaults are stored with the weights."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field("", description="Name of a served model. Default: the first.")
    threshold: Fraction | Absent = optional("Confidence threshold.")
    iou_threshold: Fraction | Absent = optional("IoU threshold of NMS.")
    max_detections: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)] | Absent = optional("Maximum detections.")
    classes: str | Absent = optional("Classes to detect, by name or number, separated by commas.")
    format: Literal["json", "jpeg", "png"] | Absent = optional(
        "Detections, or the annotated image. Default: what the header Accept names first."
    )
    url: str | Absent = optional("URL of the image, on a host of --allow-urls.")

    def request(self) -> PredictRequest:
        """The same as options of `lookonce predict`."""
        return PredictRequest("", **self.model_dump(include=DETECTOR_OPTIONS))


class Body(DetectOptions):
    """The JSON body: the image in base64, or a URL; and options, which come before those of the query."""

    model_config = ConfigDict(json_schema_extra={"example": {"image": EXAMPLE, "threshold": 0.3}})

    image: str | Absent = optional("The image file in base64, or a data: URL.")


class FormBody(DetectOptions):
    """The form: the image file and options."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]


class DetectedObject(BaseModel):
    class_name: str = Field(alias="class")
    label: int = Field(description="Index of the class.")
    score: float = Field(description="Confidence, 0 to 1.")
    box_xyxy: tuple[float, float, float, float] = Field(description="Left, top, right, bottom in pixels.")


class Detected(BaseModel):
    """Detections of the upright image, highest score first."""

    model: str
    version: int = Field(description="1, and one more after each reload of the model.")
    file: str
    width: int
    height: int
    detections: list[DetectedObject]


class Problem(BaseModel):
    error: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status.value: {"model": Problem, "description": status.phrase}
    for status in (
        *(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT),
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY),
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE),
    )
}
BINARY = {"schema": {"type": "string", "format": "binary"}}


def body_of(content: dict[str, Any]) -> dict[str, Any]:
    """What /openapi.json says of a body that the route reads itself. content: type -> schema and example."""
    return {"requestBody": {"required": True, "content": content}}


DETECT_BODY = body_of(
    {
        JSON: {"schema": {"$ref": "#/components/schemas/Body"}},
        FORM: {"schema": {"$ref": "#/components/schemas/FormBody"}},
        "image/*": BINARY,
        "application/octet-stream": BINARY,
    }
)
DETECT_ANSWERS = PROBLEMS | {
    200: {"model": Detected, "description": "Detections", "content": {"image/jpeg": BINARY, "image/png": BINARY}}
}


def create_app(context: Context, *, page: Path | None, doors: Sequence[Callable[[Context], APIRouter]] = ()) -> FastAPI:
    """The application. page: a folder of `lookonce page`; doors: routers of further protocols."""
    app = FastAPI(
        title="lookonce",
        version=lookonce.__version__,
        description="Object detection.",
        docs_url=None,  # its pages load programs of other hosts
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.add_middleware(Gate, rules=context.rules, on_request=context.metrics.on_request)
    for kind in (LookonceError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _on_error)
    for router in (_detection(context), _health(context), *(door(context) for door in doors)):
        app.include_router(router)
    _describe_bodies(app)
    if page is None:
        app.add_api_route("/", lambda: HTMLResponse(FORM_PAGE, headers=FORM_HEADERS), include_in_schema=False)
    else:
        app.mount("/", Page(page), "page")
    return app


class Page(StaticFiles):
    """The folder of a page, with its headers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True)
        self._headers = page_headers(folder)

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        if isinstance(response, FileResponse):
            kind = CONTENT_TYPES.get(Path(response.path).suffix, "application/octet-stream")
            response.headers["Content-Type"] = kind
        return response


def _detection(context: Context) -> APIRouter:
    router = APIRouter()

    @router.post("/detect", responses=DETECT_ANSWERS, openapi_extra=DETECT_BODY, summary="Detect objects in an image")
    async def detect(request: Request, query: Annotated[DetectOptions, Query()]) -> Response:
        upload = await upload_of(request)
        given = {name: value for name, value in upload.fields.items() if value != ""}  # a form's empty inputs
        options = parsed_as(DetectOptions, query.model_dump(exclude_unset=True) | given)
        content = await context.content_of(upload, options.url)
        answer = await context.models.detect(content, options.request(), model=options.model, name=upload.name)
        kind = options.format or accepted(request.headers.get("accept", ""))
        if kind == "json":
            return Response(to_json(as_detected(answer)), media_type=JSON)
        drawn = await context.models.in_worker(answer.drawn, SUFFIXES[kind])
        return Response(drawn, media_type=f"image/{kind}")

    return router


def _health(context: Context) -> APIRouter:
    router = APIRouter(responses={503: {"model": Problem, "description": "Not ready"}})

    @router.get("/health/live", summary="Whether the server answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready", summary="Whether every model takes requests")
    async def ready() -> dict[str, str]:
        if not context.models.are_ready:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "a model takes no requests; see the log")
        return {"status": "ready"}

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(context.metrics.as_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def as_detected(answer: Answer) -> dict[str, Any]:
    """The answer as `Detected`: file, sizes and detections are those of detections.json."""
    entry = answer.predicted.to_dict()
    kept = {name: entry[name] for name in ("file", "width", "height", "detections")}
    return {"model": answer.model, "version": answer.found.version, **kept}


def accepted(header: str) -> str:
    """json, jpeg or png: the first of the header Accept that the server gives, json for none."""
    kinds = {"application/json": "json", "image/jpeg": "jpeg", "image/png": "png", "image/*": "jpeg", "*/*": "json"}
    named = [part.partition(";")[0].strip().lower() for part in header.split(",")]
    return next((kinds[name] for name in named if name in kinds), "json")


def parsed_as(kind: type[Parsed], values: Any) -> Parsed:
    """The values as a model of pydantic; SettingsError for the first that does not fit."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _first_problem(error.errors(), kind) from None


def _first_problem(problems: Sequence[Any], kind: type[BaseModel] | None = None) -> SettingsError:
    """The first problem that pydantic found, as an error of the option, not of the type that it tried."""
    first, place = problems[0], problems[0]["loc"]
    if any(other["type"] == "none_required" and other["loc"][:-1] == place[:-1] for other in problems):
        place = place[:-1]  # the last part of an optional value's place is a type: ("threshold", "constrained-float")
    name = ".".join(str(part) for part in place if part not in ("query", "path"))
    if first["type"] == "extra_forbidden":
        known = [*(DetectOptions if kind is None else kind).model_fields, *(() if kind is None else ("image",))]
        hint = suggestion(str(place[-1]), known) or f"; expected one of {', '.join(known)}"
        return SettingsError(f"{name}: unknown option{hint}", setting=str(place[-1]))
    if first["type"] == "missing":
        return SettingsError(f"{name}: missing", setting=str(place[-1]))
    expected = first["msg"].replace("Input should be", "expected")
    return SettingsError(
        f"{name}: {shortened(first['input'])}; {expected}", setting=str(place[-1]), value=first["input"]
    )


def _on_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, HTTPException):
        message, status, headers = error.detail, error.status_code, dict(error.headers or {})
        path, allowed = request.url.path, headers.get("Allow")
        if isinstance(request.scope.get("endpoint"), Page) and path != "/":  # it takes what no route takes
            described = request.app.openapi()["paths"].get(path, {})
            allowed = ", ".join(described).upper()
            headers = {"Allow": allowed} if described else {}
            status = HTTPStatus.METHOD_NOT_ALLOWED if described else HTTPStatus.NOT_FOUND
        if status == HTTPStatus.NOT_FOUND:
            message = f"{shortened(path)}: no such path; /openapi.json describes all paths"
        elif status == HTTPStatus.METHOD_NOT_ALLOWED:
            message = f"{shortened(path)}: {request.method}; expected {allowed or 'another method'}"
        return JSONResponse({"error": message}, status, headers)
    if isinstance(error, RequestValidationError):
        return response_to(_first_problem(error.errors()))
    assert isinstance(error, LookonceError)
    return response_to(error)


def _describe_bodies(app: FastAPI) -> None:
    """Adds the bodies of /detect, which it reads itself, to the schemas of /openapi.json."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = made()["components"]["schemas"]
            for kind in (Body, FormBody):
                schemas[kind.__name__] = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        return made()

    app.openapi = described  # type: ignore[method-assign]
