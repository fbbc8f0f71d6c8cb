"""The application of `tocsin web` over a read model that is filled already, for a client in the same process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from streams.metrics import WebMetrics
from streams.web.hub import Hub
from streams.web.model import Fact, ReadModel
from streams.web.server import application
from streams.web.site import Health, Site
from tests.support.webdata import enter, outage_of_x, with_database


@dataclass
class WebApp:
    """One, with its parts; `health` is what its reader would say."""

    model: ReadModel
    site: Site
    hub: Hub
    app: Starlette
    metrics: WebMetrics
    health: Health = ("live", None, 0.5)

    def enter(self, facts: list[Fact]) -> None:
        enter(self.model, facts)
        self.hub.changed()


@contextmanager
def web_app(folder: Path, facts: list[Fact] | None = None, **web: object) -> Iterator[WebApp]:
    """Yield an application over some facts, those of the outage of X if none are given."""
    own = with_database(outage_of_x()[0], folder / "web.sqlite3", **web)
    model = ReadModel(own)
    registry = CollectorRegistry()
    metrics = WebMetrics(registry)
    site = Site(own, lambda: made.health)
    hub = Hub(site.changes, site.status, metrics, own.web.max_streams)
    made = WebApp(model, site, hub, application(site, hub, metrics, registry), metrics)
    try:
        enter(model, outage_of_x()[1] if facts is None else facts)
        yield made
    finally:
        model.close()
