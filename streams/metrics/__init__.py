"""What a worker counts and measures of itself, for Prometheus."""

from prometheus_client import CollectorRegistry

from streams.metrics.count import CountMetrics
from streams.metrics.detect import DetectMetrics
from streams.metrics.families import Family
from streams.metrics.notify import NotifyMetrics
from streams.metrics.parent import ParentMetrics, merge
from streams.metrics.stage import ProcessMetrics, StageMetrics, WorkerMetrics
from streams.metrics.web import WebMetrics
from streams.settings import Settings

__all__ = [
    "CountMetrics",
    "DetectMetrics",
    "Family",
    "NotifyMetrics",
    "ParentMetrics",
    "ProcessMetrics",
    "StageMetrics",
    "WebMetrics",
    "WorkerMetrics",
    "catalogue",
    "merge",
]


def catalogue() -> list[Family]:
    """Return all metrics that there are, those of every stage first, each once."""
    settings = Settings()

    def nothing() -> list[str]:
        return []

    made = [
        WorkerMetrics(CollectorRegistry(), "count", nothing).families,
        (count := CountMetrics(CollectorRegistry(), settings)).shared,
        count.families,
        DetectMetrics(CollectorRegistry(), settings).families,
        NotifyMetrics(CollectorRegistry(), settings).families,
        ParentMetrics(CollectorRegistry(), ()).families,
        WebMetrics(CollectorRegistry()).families,
        ProcessMetrics(CollectorRegistry(), "count").families,
    ]
    return [family for families in made for family in families.described]
