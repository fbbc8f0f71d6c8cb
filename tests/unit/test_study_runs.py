"""The simulation study runs a detector as it says: the same seed, the same figures; outages on copies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.study.__main__ import main
from benchmarks.study.clairvoyant import bound
from benchmarks.study.generator import CELLS, MINUTE_MS
from benchmarks.study.runs import CLEAN, COLD, Result, run
from benchmarks.study.scenarios import LASTING, PRANKS, STEPS, Scenario
from benchmarks.study.shares import maker
from detectors import Detector, Limit, Ratio, Verdict

HIGH = np.array([index for index, cell in enumerate(CELLS) if cell.level >= 50])
TENFOLD = STEPS[2]


def ratio() -> Detector:
    return Ratio(MINUTE_MS, above=3)


def study(*scenarios: Scenario, seed: int = 5) -> Result:
    return run(ratio, seed, 2, learn_days=3, watch_days=1, under=[CLEAN], scenarios=scenarios)


def test_outages_are_tried_on_copies_so_that_quiet_days_are_the_same_without_them() -> None:
    plain, tried = study(), study(TENFOLD, PRANKS[3])
    for name in (CLEAN.name, COLD):
        assert plain.quiet[name].incidents.tolist() == tried.quiet[name].incidents.tolist()
    assert plain.quiet[CLEAN.name].days.tolist() == [2] * len(CELLS)
    assert plain.quiet[COLD].days.tolist() == [2] * len(CELLS)  # two keys a cell, the third day
    assert plain.outages == {}


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    first, again, other = study(TENFOLD), study(TENFOLD), study(TENFOLD, seed=6)
    delays = [each.outages[TENFOLD.name].delay_min.tolist() for each in (first, again, other)]
    assert delays[0] == delays[1]
    assert delays[0] != delays[2]


def test_ten_times_the_mean_is_seen_in_the_third_bin_by_a_detector_that_needs_three() -> None:
    found = study(TENFOLD, LASTING[2], PRANKS[1], PRANKS[3])
    step = found.outages[TENFOLD.name].of(HIGH)
    assert step.delay(50) == 3
    # windows of fifteen bins, two of them in a row: the outage has to leave the window
    assert step.clear(50) >= 10
    assert np.isinf(found.outages[LASTING[2].name].clear_min).any()
    for prank in (PRANKS[1], PRANKS[3]):
        assert not found.outages[prank.name].of(HIGH).incidents.any()


class Restless(Limit):
    """Raises where a bin holds over a million reports, and in one of its bins whatever that holds."""

    def __init__(self, restless_bin: int) -> None:
        super().__init__(MINUTE_MS)
        self._bins_left = restless_bin

    def step(self, *arguments: Any, **others: Any) -> Verdict:
        seen = super().step(*arguments, **others)
        self._bins_left -= 1
        raised = (arguments[1] > 1e6) | np.full(self.keys, self._bins_left == 0)
        return dataclasses.replace(seen, raised=raised)


@pytest.mark.parametrize(("restless_bin", "blamed"), [(3, 0), (17, 1)])
def test_a_prank_is_blamed_for_what_would_not_have_been_raised_without_it_alone(restless_bin: int, blamed: int) -> None:
    """It is watched for 16 bins: a raise in the third comes without the prank too, one in the 17th does not count."""
    huge = dataclasses.replace(PRANKS[0], name="huge", burst_reports=1e8)
    others = (PRANKS[2], TENFOLD)
    found = run(
        lambda: Restless(restless_bin), 5, 1, learn_days=1, watch_days=1, under=[CLEAN], scenarios=[huge, *others]
    ).outages
    assert set(found["huge"].incidents.tolist()) == {blamed}
    assert not found[PRANKS[2].name].incidents.any()
    assert set(found[TENFOLD.name].delay_min.tolist()) == {restless_bin}


def test_the_clairvoyant_bound_takes_two_bins_at_least() -> None:
    found = bound(8, [TENFOLD], keys_per_cell=4, days=3).outages[TENFOLD.name]
    assert found.delay_min.min() == 2
    assert found.of(HIGH).delay(50) == 2


@pytest.mark.parametrize("text", ["ratio:above=3", "detectors.ratio.Ratio:above=3", "detectors.Ratio:above=3"])
def test_a_detector_is_named_with_its_parameters(text: str) -> None:
    given = maker(text)()
    given.resize(1)
    expected = ratio()
    expected.resize(1)
    assert given.snapshot(slice(None)) == expected.snapshot(slice(None))


def test_the_command_prints_the_figures_and_writes_them_with_charts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "--detector ratio --detector ratio:above=3 --quick --learn-days 1 --watch-days 1 --keys-per-cell 1"
    main([*arguments.split(), "--calibration-days", "2", "--seed", "77", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "goals of ratio" in printed
    told = json.loads((tmp_path / "study.json").read_text())
    assert told["seed"] == 77
    assert list(told["detectors"]) == ["ratio", "ratio:above=3"]
    assert len(told["goals"]) == 9
    assert len(told["detectors"]["ratio"]["mean_delay_over_clairvoyant"]) == 36
    page = (tmp_path / "study.html").read_text()
    assert page.count("<svg") == 5
    for goal in told["goals"]:
        assert goal["measured"] in page
