"""What a scrape shows, by series as it is written in Prometheus' text format with its labels in order."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


def series(source: CollectorRegistry | str) -> dict[str, float]:
    """Return the value of each series of a registry or a text, such as `tocsin_ready{stage="count"}`.

    A series that is there twice is an error, as it is to Prometheus.
    """
    text = source if isinstance(source, str) else generate_latest(source).decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, f"{name} is there twice"
            found[name] = sample.value
    return found
