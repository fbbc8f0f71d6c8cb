"""What the notify stage measures."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from streams.metrics.stage import StageMetrics
from streams.settings import Settings


class NotifyMetrics(StageMetrics):
    """Metrics of the notify stage.

    Parameters
    ----------
    registry
        Where they are registered.
    settings
        The deployment's settings.
    end_offset
        Returns the end of an incidents partition as far as is known; asked at each scrape, by any thread.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: Settings, end_offset: Callable[[int], int | None] = lambda _: None
    ) -> None:
        super().__init__(registry, "notify", settings, end_offset)
        make = self.families
        self._alerts = make.counter("tocsin_notify_alerts_total", "alerts", "Alerts sent.", "kind")
        self._repeated = make.counter(
            "tocsin_facts_repeated_total", "facts", "Transitions stated again, as detect does after a restart."
        )
        self._contradicted = make.counter(
            "tocsin_facts_contradicted_total", "facts", "Transitions stated again with another value: a bug."
        )

    def alerted(self, kind: str) -> None:
        """Take in an alert."""
        self._alerts.labels(kind).inc()

    def repeated(self, *, contradicted: bool) -> None:
        """Take in a transition that was stated before."""
        (self._contradicted if contradicted else self._repeated).inc()
