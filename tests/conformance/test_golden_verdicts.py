"""What each detector says of one series, bin by bin where something changes; `--update-golden` writes it anew.

Bins of five minutes for three weeks, made with integers alone: a day's course, quieter weekends, scatter. Then an
outage of an hour, a burst, silence, a gap, a slow rise, and a new level that stays for two days.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detectors import NBSR, Detector, Ears, Limit, Ratio

GOLDEN = Path(__file__).parent / "golden"
BIN_MS, HOUR, DAY = 300_000, 12, 288
WEEKS = 21 * DAY
DETECTORS: dict[str, Callable[[], Detector]] = {
    "nbsr": lambda: NBSR(BIN_MS),
    "ratio": lambda: Ratio(BIN_MS),
    "ears": lambda: Ears(BIN_MS),
    "limit": lambda: Limit(BIN_MS, above=200),
}


def usual(number: int) -> int:
    """Return 20 to 92 reports, fewer on weekends, with a scatter of a tenth or so."""
    of_day = number % DAY
    course = 20 + min(of_day, DAY - of_day) // 2
    weekend = number // DAY % 7 < 2
    return max(0, course * (8 if weekend else 10) // 10 + number * 7919 % 17 - 8)


def happened(number: int) -> tuple[int, bool]:
    """Return the reports of a bin, and whether it was observed."""
    count, day, of_day = usual(number), (number - WEEKS) // DAY, (number - WEEKS) % DAY
    if day == 0 and 6 * HOUR <= of_day < 7 * HOUR:
        return 5 * count, True
    if day == 1 and of_day == 100:
        return 50 * count, True
    if day == 2 and 100 <= of_day < 112:
        return 0, True
    if day == 3:
        return count, not 50 <= of_day < 200
    if day == 4 and 8 * HOUR <= of_day < 12 * HOUR:
        return count + count * (of_day - 8 * HOUR) // (2 * HOUR), True
    return (count if day < 5 else 4 * count), True


def told(detector: Detector) -> list[dict[str, object]]:
    """Return what changes: a raise begins or ends, an incident ends."""
    detector.resize(1)
    lines: list[dict[str, object]] = []
    is_open = was_raised = False
    for number in range(WEEKS + 7 * DAY):
        count, observed = happened(number)
        verdict = detector.step(
            number * BIN_MS, np.array([float(count)]), np.array([observed]), np.array([is_open]), np.array([0])
        )
        raised = bool(verdict.raised[0])
        ended = is_open and bool(verdict.rebaselined[0] or verdict.clear_score[0] >= verdict.clear_threshold[0])
        if raised != was_raised or ended:
            figures = {
                name: float(f"{value:.4g}")
                for name in ("expected", "score", "score_threshold", "clear_level", "clear_score")
                if math.isfinite(value := float(getattr(verdict, name)[0]))
            }
            what = {"raised": raised, "ended": ended, "rebaselined": bool(verdict.rebaselined[0])}
            lines.append({"bin": number - WEEKS, "count": count, **what, **figures})
        was_raised = raised
        weighs_the_end = not np.isnan(verdict.clear_score[0])
        is_open = (is_open or raised) and not ended if weighs_the_end else raised
    return lines


@pytest.mark.parametrize("name", DETECTORS)
def test_the_verdicts_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    lines = told(DETECTORS[name]())
    path = GOLDEN / f"{name}.jsonl"
    if request.config.getoption("--update-golden"):
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert lines == [json.loads(line) for line in path.read_text().splitlines()]
