"""The HTTP side of a worker: /metrics, /livez and /readyz, from a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


class PortError(Exception):
    """The worker cannot listen on its port; the message names the setting."""


class HealthServer:
    """Serves metrics and probes until the process ends.

    A thread, so that a busy event loop is still seen to be alive, and a stuck one to be not ready.

    Parameters
    ----------
    registry
        What /metrics shows.
    troubles
        Returns why the worker is not ready, one line each; nothing when it is.
    host, port
        Where to listen; port 0 takes any free one.

    Raises
    ------
    PortError
        If the address is taken or not ours.
    """

    def __init__(self, registry: CollectorRegistry, troubles: Callable[[], list[str]], host: str, port: int) -> None:
        self._registry = registry
        self._troubles = troubles
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            raise PortError(
                f"cannot listen on {host}:{port} (worker.http_host, worker.http_port): {error.strerror}"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        routes = [
            Route("/metrics", self._metrics),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="health", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _livez(self, _: Request) -> Response:
        return PlainTextResponse("alive\n")

    def _readyz(self, _: Request) -> Response:
        troubles = self._troubles()
        text = "".join(f"{trouble}\n" for trouble in troubles) or "ready\n"
        return PlainTextResponse(text, status_code=503 if troubles else 200)
