from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import merge
from tests.support.series import series

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["a", "b", "b_seconds", "c_total"])


@st.composite
def processes(draw: st.DrawFn) -> list[str]:
    """Return the metrics of a few processes, which agree on types and labels and differ in the label `stage`."""
    kinds = draw(st.dictionaries(NAMES, st.sampled_from([Counter, Gauge, Histogram]), max_size=4))
    texts = []
    for number in range(draw(st.integers(0, 3))):
        registry = CollectorRegistry()
        for name in draw(st.sets(st.sampled_from(sorted(kinds)))) if kinds else ():
            metric = kinds[name](name, draw(TEXT), ["stage", "name"], registry=registry)
            for value in draw(st.sets(TEXT, max_size=3)):
                child = metric.labels(str(number), value)
                amount = draw(st.floats(0, allow_nan=False))
                if isinstance(child, Histogram):
                    child.observe(amount)
                else:
                    child.inc(amount)
        texts.append(generate_latest(registry).decode())
    return texts


@given(processes())
def test_every_series_of_every_process_is_there_once_with_its_value(texts: list[str]) -> None:
    expected: dict[str, float] = {}
    for text in texts:
        expected |= series(text)
    assert series(merge(texts)) == expected


@given(processes())
def test_every_family_is_together_with_one_help_and_one_type(texts: list[str]) -> None:
    merged = merge(texts)
    heads = [line for line in merged.split("\n") if line.startswith("#")]
    assert len(heads) == len({tuple(line.split(" ", 3)[1:3]) for line in heads})
    families = [family.name for family in text_string_to_metric_families(merged)]
    assert len(families) == len(set(families))


@given(processes())
def test_merging_what_is_merged_changes_nothing(texts: list[str]) -> None:
    merged = merge(texts)
    assert merge([merged]) == merge([merged, *texts]) == merged
