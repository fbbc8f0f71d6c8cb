"""The HTTP side of a worker: /metrics, /livez and /readyz, from a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streams.settings import Worker


class PortError(Exception):
    """The worker cannot listen where it should; the message names the place."""


def listen(settings: Worker) -> socket.socket:
    """Return a socket that listens on the port of the settings.

    Raises
    ------
    PortError
        If the address is taken or not ours.
    """
    host, port = settings.http_host, settings.http_port
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise PortError(
            f"cannot listen on {host}:{port} (worker.http_host, worker.http_port): {error.strerror}"
        ) from None
    return listener


def listen_at(path: Path) -> socket.socket:
    """Return a Unix socket that listens at a path, instead of one that an earlier process has left there.

    Raises
    ------
    PortError
        If that cannot be.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
    except OSError as error:
        listener.close()
        # only a path that is too long is found out by Python itself, which gives no number
        reason = error.strerror or f"{error}: set TMPDIR to a folder with a shorter one"
        raise PortError(f"cannot listen at {path}: {reason}") from None
    return listener


class HealthServer:
    """Serves metrics and probes until the process ends.

    A thread, so that a busy event loop is still seen to be alive, and a stuck one to be not ready.

    Parameters
    ----------
    listener
        The socket to serve; see `listen` and `listen_at`.
    metrics
        Returns what /metrics shows, in Prometheus' text format.
    troubles
        Returns why the worker is not ready, one line each; nothing when it is.
    """

    def __init__(
        self, listener: socket.socket, metrics: Callable[[], bytes], troubles: Callable[[], list[str]]
    ) -> None:
        self._metrics = metrics
        self._troubles = troubles
        routes = [
            Route("/metrics", self._show_metrics),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="health", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    # functions and no coroutines, so that each request has a thread of its own to wait in

    def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _livez(self, _: Request) -> Response:
        return PlainTextResponse("alive\n")

    def _readyz(self, _: Request) -> Response:
        troubles = self._troubles()
        text = "".join(f"{trouble}\n" for trouble in troubles) or "ready\n"
        return PlainTextResponse(text, status_code=503 if troubles else 200)
