"""What `tocsin web` measures."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from streams.metrics.families import Families


class WebMetrics:
    """Metrics of the process that serves the page and the API.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.families = make = Families(registry, "web")
        build = make.gauge("tocsin_web_build_info", "", "1, for the version that runs.", "version")
        build.labels(version("tocsin")).set(1)
        self.ready = make.gauge("tocsin_web_ready", "", "1 if /readyz says so, else 0.")
        self._facts = make.counter("tocsin_web_facts_total", "facts", "Facts entered into the read model.", "topic")
        self._repeated = make.counter(
            "tocsin_web_facts_repeated_total", "facts", "Facts stated again, as detect does after a restart.", "topic"
        )
        self._contradicted = make.counter(
            "tocsin_web_facts_contradicted_total", "facts", "Facts stated again with another value: a bug.", "topic"
        )
        self._unreadable = make.counter(
            "tocsin_web_facts_unreadable_total", "records", "Records that are no facts, passed over.", "topic"
        )
        self._lag = make.gauge("tocsin_web_lag_records", "records", "Records that are not read yet, when last asked.")
        self.judged = make.gauge(
            "tocsin_web_judged_seconds", "seconds", "Event time at the end of the newest judged bin."
        )
        self.streams = make.gauge("tocsin_web_streams", "clients", "Clients that listen to the stream.")
        self.dropped = make.counter(
            "tocsin_web_streams_dropped_total", "clients", "Clients cut off for reading too slowly; they resume."
        )
        self.requests = make.counter(
            "tocsin_web_requests_total", "requests", "Requests answered, by route and status.", "route", "code"
        )

    def applied(
        self,
        entered: Mapping[str, int],
        repeated: Mapping[str, int],
        contradicted: Mapping[str, int],
        unreadable: Mapping[str, int],
    ) -> None:
        """Take in what entering facts has come to, each by topic."""
        for counter, counted in (
            (self._facts, entered),
            (self._repeated, repeated),
            (self._contradicted, contradicted),
            (self._unreadable, unreadable),
        ):
            for topic, count in counted.items():
                counter.labels(topic).inc(count)

    def lag(self, records: int) -> None:
        """Take in how many records are not read yet."""
        self._lag.set(records)
