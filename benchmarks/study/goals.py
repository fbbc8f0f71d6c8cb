"""What the detector is to reach in the study, beside what it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.study.runs import Result
from benchmarks.study.scenarios import RAMP, SCENARIOS, SLOW, STEPS
from benchmarks.study.tables import POOLED, delay_ratios, number
from detectors.backtest import Outages


class Goal(NamedTuple):
    """One measure: what an earlier study had, what is to be reached, what was measured, and whether it is enough."""

    measure: str
    earlier: str
    goal: str
    measured: str
    met: bool


def goals(result: Result, bound: Result) -> Iterator[Goal]:
    """Yield the goals that the study can tell of.

    Parameters
    ----------
    result
        Of the detector.
    bound
        The clairvoyant detector's, of the same scenarios.
    """
    for measure, condition, earlier, most in (
        ("false incidents per region and 30 d, upper end of the 95 % interval", "clean", "0.17", 0.20),
        ("the same with unknown slow noise (sd 0.3)", "slow noise, sd 0.3", "0.45 (rate)", 0.45),
    ):
        quiet = result.quiet[condition]
        low, high = quiet.interval()
        measured = f"{high:.2f} (rate {quiet.per_30_days():.2f}, from {low:.2f})"
        yield Goal(measure, earlier, f"<= {most:.2f}", measured, high <= most)

    for scenario, earlier, share, median, p90 in (
        (STEPS[1], "100 %, 2/10 min", 100.0, 2.0, 8.0),
        (STEPS[0], "97 %, 3/27 min", 98.0, 3.0, 22.0),
    ):
        found = result.outages[scenario.name].of(POOLED)
        detected, delays = 100 * found.detected(), (found.delay(50), found.delay(90))
        yield Goal(
            f"{scenario.name}: detected, delay median/p90",
            earlier,
            f"{share:g} %, {median:g}/{p90:g} min",
            f"{detected:.1f} %, {number(delays[0])}/{number(delays[1])} min",
            # a hundred percent to the digit that is shown
            round(detected, 1) >= share and delays[0] <= median and delays[1] <= p90,
        )
    slow = result.outages[SLOW.name].of(POOLED)
    yield Goal(
        "slow growth to x3 over 6 h, delay median", "85 min", "75 min", f"{slow.delay(50):g} min", slow.delay(50) <= 75
    )
    pranks = Outages.joined([result.outages[each.name] for each in SCENARIOS if not each.is_outage])
    raised = int((pranks.incidents > 0).sum())
    yield Goal(
        "one-minute burst or drop to zero raises", "0 %", "0 %", f"{raised} of {len(pranks.group):,}", raised == 0
    )
    ended = Outages.joined([result.outages[each.name] for each in (*STEPS, RAMP, SLOW)]).of(POOLED)
    clear = ended.clear(50), ended.clear(90)
    yield Goal(
        "clear after the end, median/p90",
        "4/19 min",
        "4/14 min",
        f"{number(clear[0])}/{number(clear[1])} min",
        clear[0] <= 4 and clear[1] <= 14,
    )
    per_outage = ended.incidents_per_outage()
    yield Goal("incidents per outage", "1.00", "1.00", f"{per_outage:.3f}", round(per_outage, 2) <= 1)
    ratios = np.array(list(delay_ratios(result, bound).values()))
    mean, most = float(np.exp(np.log(ratios).mean())), float(ratios.max())
    yield Goal(
        "mean delay over the clairvoyant's, geometric mean (max) over cells",
        "1.34 (2.83)",
        "1.20 (2.0)",
        f"{mean:.2f} ({most:.2f})",
        mean <= 1.2 and most <= 2.0,
    )
