"""Making metrics, each with what the reference says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

# else each counter has a second series, with a time that nothing here asks for
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not type it

#: Where a metric is found: in each stage, in one of them, in the parent of all three, or in `tocsin web`.
Place = Literal["every", "count", "detect", "notify", "parent", "web"]
Type = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """What there is to know of a metric; `name` is as in /metrics, the series of a histogram have suffixes to it."""

    name: str
    type: Type
    labels: tuple[str, ...]
    unit: str
    help: str
    place: Place


class Families:
    """Registers metrics and keeps what they are.

    Parameters
    ----------
    registry
        Where they are registered.
    place
        Where they are found, for the reference.
    """

    def __init__(self, registry: CollectorRegistry, place: Place) -> None:
        self._registry = registry
        self.place = place
        #: In the order in which they were made.
        self.described: list[Family] = []
        self._gauges: list[Gauge] = []
        self._by_partition: list[Counter] = []

    def counter(self, name: str, unit: str, text: str, *labels: str) -> Counter:
        """Return a new counter."""
        self.describe(name, "counter", unit, text, labels)
        counter = Counter(name, text, labels, registry=self._registry)
        if "partition" in labels:
            self._by_partition.append(counter)
        return counter

    def gauge(self, name: str, unit: str, text: str, *labels: str) -> Gauge:
        """Return a new gauge."""
        self.describe(name, "gauge", unit, text, labels)
        gauge = Gauge(name, text, labels, registry=self._registry)
        self._gauges.append(gauge)
        return gauge

    def histogram(self, name: str, unit: str, text: str, buckets: Sequence[float]) -> Histogram:
        """Return a new histogram."""
        self.describe(name, "histogram", unit, text, ())
        return Histogram(name, text, buckets=buckets, registry=self._registry)

    def describe(self, name: str, type_: Type, unit: str, text: str, labels: Iterable[str]) -> Family:
        """Return and keep the description of a metric that is collected elsewhere."""
        family = Family(name, type_, tuple(labels), unit, text, self.place)
        self.described.append(family)
        return family

    def clear_gauges(self) -> None:
        """Remove all series of gauges with labels."""
        for gauge in self._gauges:
            gauge.clear()

    def clear_counters(self, partition: int) -> None:
        """Remove the counters of a partition."""
        for counter in self._by_partition:
            counter.remove_by_labels({"partition": str(partition)})
