"""The process of `tocsin web`: a thread that reads topics, and a loop that answers."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.health import PortError
from streams.metrics import ProcessMetrics, WebMetrics
from streams.settings import Settings
from streams.web import api, openapi, pages, stream
from streams.web.headers import SecurityHeaders
from streams.web.hub import Hub
from streams.web.model import ReadModel
from streams.web.problems import HANDLERS
from streams.web.reader import TopicsReader
from streams.web.site import Site

log = structlog.get_logger(__name__)

STATIC = Path(__file__).with_name("static")
#: How long open requests may take once the process is to end; streams are ended at once.
_END_S = 5
#: How long a connection may leave data unacknowledged before the system drops it, as one to a phone that is gone.
_UNACKNOWLEDGED_MS = 60_000


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises
    ------
    PortError
        If the address is taken or not ours.
    """
    host, port = settings.web.host, settings.web.port
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux; connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise PortError(f"cannot listen on {host}:{port} (web.host, web.port): {error.strerror}") from None
    return listener


def application(
    site: Site, hub: Hub, metrics: WebMetrics, registry: CollectorRegistry, extra: Sequence[BaseRoute] = ()
) -> Starlette:
    """Return everything that is answered.

    Parameters
    ----------
    site, hub
        What the answers and the stream are made from.
    metrics, registry
        Where requests are counted, and what /metrics shows.
    extra
        Routes beside those.
    """
    document = openapi.text().encode()

    def described(_: Request) -> Response:
        return Response(document, media_type="application/json", headers={"cache-control": "no-cache"})

    def live(_: Request) -> Response:
        return PlainTextResponse("alive\n", headers={"cache-control": "no-store"})

    def ready(_: Request) -> Response:
        troubles = _troubles(site)
        text = "".join(f"{each}\n" for each in troubles) or "ready\n"
        return PlainTextResponse(text, 503 if troubles else 200, {"cache-control": "no-store"})

    def measured(_: Request) -> Response:
        metrics.ready.set(not _troubles(site))
        judged_ms = site.query.counts()[0]
        if judged_ms is not None:
            metrics.judged.set(judged_ms / 1000)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with hub.telling():
            yield

    return Starlette(
        routes=[
            *api.routes(site),
            *stream.routes(hub),
            Route(openapi.PATH, described),
            Route("/livez", live),
            Route("/readyz", ready),
            Route("/metrics", measured),
            Mount("/static", _Static(directory=STATIC), name="static"),
            *extra,
            *pages.routes(site),
        ],
        middleware=[
            Middleware(_Counted, metrics=metrics),
            Middleware(SecurityHeaders),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
        ],
        exception_handlers=dict(HANDLERS),
        lifespan=lifespan,
    )


def _troubles(site: Site) -> list[str]:
    status = site.status()
    return [] if status.state == "live" else [f"web: {status.state}: {status.reason}"]


class _Static(StaticFiles):
    """Our files; browsers ask each time whether theirs are still the same."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]  # passed on as they come
        response.headers.setdefault("cache-control", "no-cache")
        return response


class _Counted:
    """Counts requests by route, not by address: there are as many addresses as somebody likes."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                self._metrics.requests.labels(getattr(route, "path", "none"), message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)


class _Server(uvicorn.Server):
    """Ends the streams first: they never end by themselves."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have SIGTERM and Ctrl-C end the server and nothing else: uvicorn would have the process die of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def serve(site: Site, hub: Hub, app: Starlette, listener: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_END_S,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 << 10,
    )
    address = listener.getsockname()
    log.info("web starts", http_host=address[0], http_port=address[1], revision=site.query.revision()[1])
    _Server(config, hub).run(sockets=[listener])


def run(settings: Settings, listener: socket.socket) -> None:
    """Read the topics and answer until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings
        The deployment's settings.
    listener
        The socket to answer on; see `listen`.

    Raises
    ------
    ModelError
        If the file of the read model cannot be used.
    """
    registry = CollectorRegistry()
    metrics = WebMetrics(registry)
    ProcessMetrics(registry, "web")
    model = ReadModel(settings)
    hub: list[Hub] = []
    reader = TopicsReader(settings, model, metrics, lambda: hub[0].changed())
    site = Site(settings, reader.status)
    hub.append(Hub(site.changes, site.status, metrics, settings.web.max_streams))
    app = application(site, hub[0], metrics, registry)
    reader.start()
    try:
        serve(site, hub[0], app, listener)
    finally:
        reader.stop()
        model.close()
