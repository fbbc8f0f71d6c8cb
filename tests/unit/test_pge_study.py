"""The script of the study runs: on the sample, for the whole file is not part of the project."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.pge.runs import Reports, columns
from benchmarks.pge.study import allowed_table, lateness_table, main

SAMPLE = Path(__file__).parents[1] / "data" / "pge_outages_sample.csv.gz"
NINTH_NOON_S = 1_570_622_400  # 9 October 2019, 12:00 UTC


def test_the_study_prints_its_tables_and_draws_its_charts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = gzip.decompress(SAMPLE.read_bytes()).splitlines(keepends=True)
    first_days = [line for line in lines[1:] if int(line.split(b",")[3]) < NINTH_NOON_S]
    file = tmp_path / "first_days.csv"
    file.write_bytes(b"".join([lines[0], *first_days]))
    monkeypatch.setattr(sys, "argv", ["study.py", str(file), "--charts", str(tmp_path)])
    main()
    printed = capsys.readouterr().out
    assert printed.startswith(f"{len(first_days)} reports; ")
    assert printed.count("| --- |") == 5
    for chart in ("pge-2019-10-reports.svg", "pge-2019-10-lateness.svg"):
        assert ElementTree.parse(tmp_path / chart).getroot().tag.endswith("svg")


def test_lateness_is_from_the_start_of_an_outage_to_when_it_was_first_seen() -> None:
    found = columns(SAMPLE)
    assert found.late_s[0] == 1_570_288_228 - 1_570_287_660


def test_percentiles_and_shares_are_those_of_the_reports() -> None:
    kinds = np.array(["a"] * 99 + ["public-safety-power-shutoff"])
    reports = Reports(kinds, np.zeros(100, np.int64), np.arange(100.0) * 60)
    assert "| a | 99 | 49 min | 1 h 28 min 12 s | 1 h 37 min 1 s |" in lateness_table(reports)
    assert "| 1 h | 39.0% |" in allowed_table(reports)
