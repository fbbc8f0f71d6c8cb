from __future__ import annotations

import re

from streams.metrics import catalogue
from streams.metrics.families import Family

FAMILIES = catalogue()
OWN = [family for family in FAMILIES if family.name.startswith("tocsin_")]


def names(families: list[Family]) -> list[str]:
    return [family.name for family in families]


def test_each_metric_is_there_once_with_a_sentence_about_it() -> None:
    assert len(set(names(FAMILIES))) == len(FAMILIES)
    assert [family.name for family in OWN if not re.fullmatch(r"[A-Z0-9].*[a-z0-9]\.", family.help)] == []


def test_names_say_the_unit_and_the_type() -> None:
    for suffix in ("seconds", "bytes"):
        assert [each.name for each in FAMILIES if (each.unit == suffix) != (f"_{suffix}" in each.name)] == []
    assert [each.name for each in FAMILIES if (each.type == "counter") != each.name.endswith("_total")] == []


def test_the_metrics_of_the_process_and_its_interpreter_are_in_it_by_stage() -> None:
    foreign = [family for family in FAMILIES if family not in OWN]
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= set(names(foreign))
    assert all("stage" in family.labels for family in foreign)


def test_no_metric_has_a_label_that_an_attacker_could_grow_without_end() -> None:
    by_name = {family.name for family in OWN if {"service", "region"} & set(family.labels)}
    assert by_name == {  # these are bounded by worker.max_metric_series
        "tocsin_window_reports",
        "tocsin_expected_reports",
        "tocsin_score",
        "tocsin_score_threshold",
        "tocsin_state",
    }
    others = {label for family in OWN if family.name not in by_name for label in family.labels}
    assert others == {
        "stage",
        "version",
        "partition",
        "topic",
        "reason",
        "source",
        "transition",
        "kind",
        "route",
        "code",
    }
