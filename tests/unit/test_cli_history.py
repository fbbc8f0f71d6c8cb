"""History to learn from: what a report log teaches, whatever topic it was read from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams import reportlog
from streams.cli import source
from streams.settings import load
from tests.support.eventfullog import eventful_log


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The log of an hour of a topic with 3 partitions."""
    path = tmp_path / "log.jsonl"
    reportlog.write(path, eventful_log(seed=1, minutes=60, bin_s=60, partitions=3, per_second=1))
    return path


@pytest.mark.parametrize("partitions", [1, 5])
def test_a_log_of_a_topic_with_other_partitions_teaches_the_same(file: Path, partitions: int) -> None:
    same = list(source.history(file, load(**{"kafka.reports_partitions": 3})))
    other = list(source.history(file, load(**{"kafka.reports_partitions": partitions})))
    assert other == same
    assert len(same) >= 60
    assert sum(sum(Counter(counts).values()) for _, counts in same) > 1000


def test_a_log_knows_how_many_partitions_it_is_of(file: Path) -> None:
    assert reportlog.partitions_of(file) == 3


def test_bare_reports_are_of_no_partitions(tmp_path: Path) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text('{"service": "x", "region": "US", "time": "2025-05-24T12:00:00Z"}\n')
    assert reportlog.partitions_of(file) is None
