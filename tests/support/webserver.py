"""`tocsin web` without Kafka on a port of its own: it can end, and begin again over the same read model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn
from prometheus_client import CollectorRegistry

from streams.metrics import WebMetrics
from streams.settings import Settings
from streams.web.hub import Hub
from streams.web.model import Fact, ReadModel
from streams.web.server import application, listen
from streams.web.site import Health, Site
from tests.support.loopback import free_port
from tests.support.waiting import until
from tests.support.webdata import enter, outage_of_x, with_database


class WebServer:
    """One; `health` is what its reader would say."""

    def __init__(self, settings: Settings, model: ReadModel) -> None:
        self.settings = settings
        self.health: Health = ("live", None, 0.5)
        self.address = f"http://127.0.0.1:{settings.web.port}"
        self._model = model
        self._running: tuple[uvicorn.Server, Hub, Thread] | None = None

    def start(self) -> None:
        """Answer, as a new process does."""
        registry = CollectorRegistry()
        metrics = WebMetrics(registry)
        site = Site(self.settings, lambda: self.health)
        hub = Hub(site.changes, site.status, metrics, self.settings.web.max_streams)
        app = application(site, hub, metrics, registry)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        listener = listen(self.settings)
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        self._running = server, hub, thread
        until(lambda: server.started, "the server answers")

    def stop(self) -> None:
        """End, as a process does that is told to."""
        if self._running is None:
            return
        server, hub, thread = self._running
        self._running = None
        hub.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()

    def enter(self, facts: list[Fact]) -> None:
        """Enter facts, and tell who listens if it answers."""
        enter(self._model, facts)
        if self._running is not None:
            self._running[1].changed()


@contextmanager
def web_server(folder: Path, facts: list[Fact]) -> Iterator[WebServer]:
    """Yield a server over some facts."""
    settings = with_database(outage_of_x()[0], folder / "web.sqlite3", port=free_port())
    model = ReadModel(settings)
    server = WebServer(settings, model)
    try:
        enter(model, facts)
        server.start()
        yield server
    finally:
        server.stop()
        model.close()
