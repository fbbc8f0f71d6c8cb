"""The outages of the study, and what is not an outage but looks like one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bins watched after an outage, for its incident to clear.
TAIL_BINS = 120
#: A mean delay counts a later detection, and none, as this one.
LONGEST_BINS = 720


@dataclass(frozen=True, eq=False)
class Scenario:
    """What happens to the counts of a key.

    Parameters
    ----------
    name
        How tables call it.
    factors
        By what the mean of each bin is multiplied, from the first bin on.
    jump
        The factor that the clairvoyant detector knows.
    tail_bins
        Bins watched after it.
    is_outage
        Whether an incident is wanted.
    burst_reports
        Reports per mean report that are sent at once in the first bin, at least 50 of them.
    """

    name: str
    factors: NDArray[np.float64]
    jump: float
    tail_bins: int = TAIL_BINS
    is_outage: bool = True
    burst_reports: float = 0.0

    @property
    def bins(self) -> int:
        """Length of what happens."""
        return len(self.factors)


def _step(factor: float) -> Scenario:
    return Scenario(f"x{factor:g} for 60 min", np.full(60, factor), factor)


def _lasting(factor: float) -> Scenario:
    return Scenario(f"lasting x{factor:g}", np.full(LONGEST_BINS, factor), factor, tail_bins=0)


#: Growth over an hour, then an hour at five times the mean. The jumps that are known are the fastest single ones.
RAMP = Scenario("ramp to x5", np.append(np.linspace(1, 5, 61)[1:], np.full(60, 5.0)), 2.0)
#: Growth over six hours, then an hour at three times the mean.
SLOW = Scenario("slow to x3 over 6 h", np.append(np.linspace(1, 3, 361)[1:], np.full(60, 3.0)), 1.5)
STEPS = tuple(_step(factor) for factor in (2.0, 3.0, 10.0))
#: Outages without an end: what mean delays are taken from.
LASTING = tuple(_lasting(factor) for factor in (2.0, 3.0, 10.0))
PRANKS = (
    Scenario("burst of one minute, x20", np.ones(1), 1.0, 15, is_outage=False, burst_reports=20.0),
    Scenario("burst of one minute, x200", np.ones(1), 1.0, 15, is_outage=False, burst_reports=200.0),
    Scenario("drop to zero for one minute", np.zeros(1), 1.0, 15, is_outage=False),
    Scenario("drop to zero for 60 min", np.zeros(60), 1.0, 30, is_outage=False),
)
#: What the others are compared with.
NOTHING = Scenario("nothing", np.ones(0), 1.0, 0, is_outage=False)
SCENARIOS = (*STEPS, RAMP, SLOW, *PRANKS, *LASTING)
