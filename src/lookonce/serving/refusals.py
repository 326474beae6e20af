"""Errors as answers: the status, the text and the headers of each kind."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from lookonce.errors import DataError, LookonceError, SettingsError, WeightsError
from lookonce.serving.batching import NotRun, QueueFull
from lookonce.serving.models import TooLarge


class Refused(LookonceError):
    """A request with an answer of its own status, for what is of HTTP and not of detection."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status, self.headers = status, dict(headers or {})


def status_of(error: LookonceError) -> int:
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, SettingsError) and error.setting == "model":
        return HTTPStatus.NOT_FOUND
    for kind, status in (
        (QueueFull, HTTPStatus.TOO_MANY_REQUESTS),
        (NotRun, HTTPStatus.SERVICE_UNAVAILABLE),
        (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ((DataError, SettingsError, WeightsError), HTTPStatus.UNPROCESSABLE_ENTITY),
    ):
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def headers_of(error: LookonceError) -> dict[str, str]:
    """Retry-After: whole seconds, at least 1."""
    if isinstance(error, NotRun):
        return {"Retry-After": str(max(1, math.ceil(error.seconds)))}
    return error.headers if isinstance(error, Refused) else {}


def response_to(error: LookonceError) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_of(error), headers_of(error))
