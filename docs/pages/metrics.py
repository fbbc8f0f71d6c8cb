"""The reference of metrics: what the worker's classes register."""

from __future__ import annotations

from itertools import groupby

from docs.pages import markdown
from streams.metrics import Family, catalogue

_INTRODUCTION = """\
# Metrics

A worker serves them as Prometheus text on `/metrics` at [`worker.http_port`](settings.md#workerhttp_port); one that
runs all three stages serves those of all its processes there, each once. Series of a partition are there while this
worker owns the partition. `partition` is that of the stage's input topic, `source` one of the reports topic. Times are
Unix times in seconds; what is an event time says so. What to watch, and what to do, is in
[the alerts and their runbooks](../runbooks/README.md).
"""

_PLACES = {
    "every": "Of every stage",
    "count": "Of the count stage",
    "detect": "Of the detect stage",
    "notify": "Of the notify stage",
    "parent": "Of the parent of all three stages",
    "web": "Of `tocsin web`",
}


def page() -> str:
    """Return the page."""
    parts = [markdown.GENERATED, _INTRODUCTION]
    order = list(_PLACES)
    for place, families in groupby(
        sorted(catalogue(), key=lambda each: order.index(each.place)), lambda each: each.place
    ):
        parts.append(f"## {_PLACES[place]}\n")
        parts.append(markdown.table(("metric", "type", "labels", "unit", "meaning"), map(_row, families)))
    return "\n".join(parts)


def _row(family: Family) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"`{family.name}`", family.type, labels, family.unit, markdown.text(family.help)
