"""What every request passes first: who may ask, how much, how long and how many at once; and its line in the log."""

import asyncio
import base64
import binascii
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookonce.log import get_logger
from lookonce.serving.refusals import Refused, response_to
from lookonce.shown import shown
from lookonce.web.server import names_this_machine

# For a load balancer, which has no token.
OPEN_PATHS = frozenset(
    {"/health", "/health/live", "/health/ready", "/v1/status/ping", "/v2/health/live", "/v2/health/ready"}
)
# The clients of this door send the token in their form; deepstack.py checks it.
TOKEN_IN_FORM = "/v1/vision/"
UNAUTHORIZED = {"WWW-Authenticate": 'Basic realm="lookonce", charset="UTF-8"'}
RETRY = {"Retry-After": "1"}
SECONDS_TO_DISCARD = 2.0  # the rest of a body that is refused


@dataclass(frozen=True, kw_only=True)
class Rules:
    """token: "" for none; is_local: the server listens on this machine only; max_bytes: of a body; max_requests:
    answered at once; seconds: from the headers of a request to the end of its answer."""

    token: str = ""
    is_local: bool = True
    max_bytes: int
    max_requests: int
    seconds: float

    def is_token(self, given: str) -> bool:
        """In a time that does not depend on how much of it is right."""
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())


def token_of(headers: Headers) -> str:
    """The token of `Authorization: Bearer TOKEN`, or of `Basic`, as browsers ask for it: the password of any user."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return value if kind.lower() == "bearer" else ""


class Gate:
    """ASGI middleware. on_request: gets the route's path, the status and the seconds of each request."""

    def __init__(self, app: ASGIApp, rules: Rules, on_request: Callable[[str, int, float], None]) -> None:
        self._app, self._rules, self._on_request = app, rules, on_request
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._rules.max_bytes)
        try:
            self._require_allowed(scope, Headers(scope=scope))
            await self._answer(scope, exchange)
        except Refused as error:
            await exchange.refuse(error)
        finally:
            self._log(scope, exchange)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        takes_place = scope["method"] == "POST"
        if takes_place and self._active >= self._rules.max_requests:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._active} requests at once; try again later", RETRY)
        self._active += takes_place
        try:
            async with asyncio.timeout(self._rules.seconds):
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            within = f"within {self._rules.seconds:g} seconds"
            if not exchange.is_received:
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"body: not received {within}; send it again") from None
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"not answered {within}; try again later", RETRY) from None
        except ClientDisconnect:
            exchange.status = 499  # as in nginx's logs: nobody is left to answer
        except Refused:
            raise
        except Exception as error:
            get_logger().error("%s %s", scope["method"], shown(scope["path"]), exc_info=error)
            told = f"{type(error).__name__}; see the server's log"
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, told) from error
        finally:
            self._active -= takes_place

    def _require_allowed(self, scope: Scope, headers: Headers) -> None:
        rules, host = self._rules, headers.get("host", "")
        if not rules.token and rules.is_local and not names_this_machine(host):
            raise Refused(HTTPStatus.FORBIDDEN, f"Host: {host}; expected localhost; set LOOKONCE_TOKEN for other names")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(HTTPStatus.FORBIDDEN, f"Origin: {origin}; expected {host}: other sites may not ask")
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(TOKEN_IN_FORM)
        if not is_open and not rules.is_token(token_of(headers)):
            raise Refused(HTTPStatus.UNAUTHORIZED, "token: wrong or missing; expected LOOKONCE_TOKEN's", UNAUTHORIZED)
        if headers.get("content-encoding", "identity") != "identity":
            found = headers["content-encoding"]
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding: {found}; expected no compression")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > rules.max_bytes:
            raise too_long(rules.max_bytes)

    def _log(self, scope: Scope, exchange: "_Exchange") -> None:
        path = getattr(scope.get("route"), "path", "other")
        seconds = time.monotonic() - exchange.started
        self._on_request(path, exchange.status, seconds)
        values = {
            "method": scope["method"],
            "path": scope["path"],
            "status": exchange.status,
            "milliseconds": round(seconds * 1000, 1),
            "bytes": exchange.num_bytes,
        }
        text = f"{scope['method']} {shown(scope['path'])} {exchange.status} {seconds * 1000:.1f} ms"
        get_logger().info(text, extra={"fields": values})


def too_long(max_bytes: int) -> Refused:
    expected = f"body: too long; expected at most {max_bytes:,} bytes; send a smaller image"
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, expected)


class _Exchange:
    """One request and its answer, counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        self._scope, self._receive, self._send, self._max_bytes = scope, receive, send, max_bytes
        self.started = time.monotonic()
        self.num_bytes, self.status = 0, 0
        self.is_received = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._count(message)
        if self.num_bytes > self._max_bytes:
            raise too_long(self._max_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if not self.is_received and not await self._discard():
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)

    async def refuse(self, error: Refused) -> None:
        """Answer, unless an answer has begun: then the connection is cut."""
        if self.status:
            raise error
        await response_to(error)(self._scope, self._receive, self.send)

    async def _discard(self) -> bool:
        """Receive the rest of the body; whether it ended. A client that still sends it would get a reset, not the
        answer. Not for one that is slow, or that waits for the answer before it sends (Expect: 100-continue)."""
        if self.status == HTTPStatus.REQUEST_TIMEOUT or "expect" in Headers(scope=self._scope):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_DISCARD):
                while not self.is_received:
                    self._count(await self._receive())
        return self.is_received

    def _count(self, message: Message) -> None:
        self.num_bytes += len(message.get("body", b""))
        self.is_received = self.is_received or not message.get("more_body", False)
