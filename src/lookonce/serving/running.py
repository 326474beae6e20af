"""Opens the models, runs the HTTP server until a stop signal, and answers what it took."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import uvicorn

from lookonce.errors import LookonceError
from lookonce.log import get_logger
from lookonce.prediction.predictor import NUM_RUNNERS
from lookonce.runtimes.kinds import kind_of
from lookonce.serving.app import Context, create_app
from lookonce.serving.batching import Limits
from lookonce.serving.doors import deepstack, kserve, label_studio, roboflow
from lookonce.serving.gate import Rules
from lookonce.serving.metrics import Metrics
from lookonce.serving.models import Models, ServedModel, Source
from lookonce.serving.options import ServeRequest, is_loopback
from lookonce.settings.names import split_list
from lookonce.signals import signals_handled_by
from lookonce.storage import temporary_folder
from lookonce.web.runtime import runtime_file
from lookonce.web.site import write_site

DOORS = (deepstack.router, kserve.router, label_studio.router, roboflow.router)
SECONDS_KEPT_ALIVE = 75  # as nginx; of a connection without a request


def run(request: ServeRequest, weights: Mapping[str, Path], token: str, listener: socket.socket) -> int:
    """Serve until Ctrl-C, SIGTERM or SIGHUP; returns the number of answered requests."""
    in_main = threading.current_thread() is threading.main_thread()
    with ExitStack() as stack:
        context = stack.enter_context(opened(request, weights, token))
        if request.zmq:
            from lookonce.serving.doors import frigate  # its extra is needed for nothing else

            stack.enter_context(frigate.answering(request.zmq, context.models[""], request.timeout))
        page = stack.enter_context(written_page(next(iter(weights.values())))) if request.page else None
        server = uvicorn.Server(config_of(request, context, page))
        # uvicorn stops at SIGINT and SIGTERM, and sends itself the signal again when it has: this handler ignores that.
        stack.enter_context(
            signals_handled_by(lambda *_: setattr(server, "should_exit", True)) if in_main else nullcontext()
        )
        host, port = listener.getsockname()[:2]
        get_logger().info(f"serving {', '.join(weights)} at http://{f'[{host}]' if ':' in host else host}:{port}/")
        server.run(sockets=[listener])
    return context.metrics.num_requests


@contextmanager
def opened(request: ServeRequest, weights: Mapping[str, Path], token: str) -> Iterator[Context]:
    """The models and limits of a request; the models answer what waits when the block ends."""
    limits = Limits(
        max_batch=request.max_batch,
        max_wait=request.max_wait / 1000,
        max_queue=request.max_queue,
        num_threads=NUM_RUNNERS,
    )
    metrics = Metrics()
    served = [
        ServedModel(
            name,
            Source(path=path, names=request.names, device=request.device, runtime=request.runtime),
            limits,
            partial(metrics.on_batch, name),
        )
        for name, path in weights.items()
    ]
    metrics.watch(served)
    models = Models(served, max_pixels=round(request.max_pixels * 1e6), seconds=request.timeout)
    rules = Rules(
        token=token,
        is_local=is_loopback(request.host),
        max_bytes=round(request.max_body * 1e6),
        max_requests=request.max_requests,
        seconds=request.timeout,
    )
    try:
        yield Context(models=models, rules=rules, metrics=metrics, hosts=split_list(request.allow_urls))
    finally:
        models.close(request.timeout)


@contextmanager
def written_page(weights: Path) -> Iterator[Path | None]:
    """The page of `lookonce page` in a folder of this block; None if it cannot be written without a download."""
    if kind_of(weights) != "onnx" or not runtime_file().exists():
        yield None
        return
    with temporary_folder() as folder:
        try:
            write_site(folder, weights, weights.stem)
        except LookonceError as error:
            get_logger().warning("page: %s", error)
            yield None
            return
        yield folder


def config_of(request: ServeRequest, context: Context, page: Path | None) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(context, page=page, doors=DOORS),
        loop="asyncio",
        http="h11",  # httptools would be faster to parse, and is no dependency
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=SECONDS_KEPT_ALIVE,
        timeout_graceful_shutdown=max(1, round(request.timeout)),
    )
