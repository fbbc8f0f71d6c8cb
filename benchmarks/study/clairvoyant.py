"""What no detector can be much faster than: a CUSUM that knows the mean of every bin, the dispersion and the jump."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from benchmarks.study.generator import CELLS, DAY_BINS, Condition, Generator
from benchmarks.study.runs import Result, affected
from benchmarks.study.scenarios import NOTHING, Scenario
from detectors.backtest import Outages

#: One bin adds at most this share of the threshold, so that a raise takes two bins at least.
BIN_SHARE = 0.55
THRESHOLDS = np.arange(3.0, 12.1, 0.75)
#: False alarms per key and 30 days that a threshold is chosen for.
FALSE_PER_30_DAYS = 1.0
#: Bins that the evidence runs before an outage.
WARM_UP_BINS = 240


def log_likelihood_ratio(
    counts: NDArray[np.float64], mean: NDArray[np.float64], dispersion: NDArray[np.float64], jump: float
) -> NDArray[np.float64]:
    """Return the log-likelihood ratio of `jump` times the mean to the mean, negative binomial of this dispersion."""
    size = mean / (dispersion - 1)
    return np.asarray(
        gammaln(counts + jump * size)
        - gammaln(jump * size)
        + gammaln(size)
        - gammaln(counts + size)
        - (jump - 1) * size * np.log(dispersion)
    )


def thresholds(
    seed: int,
    jumps: Sequence[float],
    keys_per_cell: int = 16,
    days: int = 28,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[float, NDArray[np.float64]]:
    """Return the threshold of every jump and cell at which a CUSUM raises about once per key and 30 days.

    The evidence starts anew after each false alarm. Between the thresholds tried, the logarithm of the rate is taken
    to be linear.
    """
    generator = Generator(seed, Condition("clairvoyant"), keys_per_cell)
    state = np.zeros((len(THRESHOLDS), len(jumps), generator.keys))
    alarms = np.zeros(state.shape, np.int64)
    limit = THRESHOLDS[:, np.newaxis, np.newaxis]
    for day in range(days):
        counts, mean = generator.day(day).counts, generator.mean(day * DAY_BINS, DAY_BINS)
        evidence = np.stack([log_likelihood_ratio(counts, mean, generator.dispersion, jump) for jump in jumps], axis=1)
        for bin_ in evidence:
            state += np.minimum(bin_, BIN_SHARE * limit)
            np.maximum(state, 0, out=state)
            alarm = state >= limit
            alarms += alarm
            state[alarm] = 0
        progress((day + 1) / days)
    cells = alarms.reshape(len(THRESHOLDS), len(jumps), len(CELLS), keys_per_cell).sum(axis=-1)
    rate = (cells + 0.5) * 30 / (keys_per_cell * days)
    return {jump: _crossing(rate[:, place]) for place, jump in enumerate(jumps)}


def _crossing(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each column of rates, falling with the threshold, passes `FALSE_PER_30_DAYS`."""
    wanted = np.log(FALSE_PER_30_DAYS)
    return np.array([np.interp(-wanted, -np.log(column), THRESHOLDS) for column in rate.T])


def bound(
    seed: int,
    scenarios: Sequence[Scenario],
    keys_per_cell: int = 100,
    days: int = 28,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Run the clairvoyant detector over outages; it does not clear and is not tried on quiet days.

    A scenario that is no outage is left out. Its thresholds are found on `days` of other counts.
    """
    outages = [scenario for scenario in scenarios if scenario.is_outage]
    jumps = sorted({scenario.jump for scenario in outages})
    found = thresholds(seed, jumps, days=days, progress=progress)
    generator = Generator(seed, Condition("clairvoyant outages"), keys_per_cell)
    bins = max(scenario.bins for scenario in outages)
    mean = generator.mean(0, WARM_UP_BINS + bins)
    rng = np.random.default_rng([seed, 3])
    quiet = affected(rng, mean[:WARM_UP_BINS], generator, [NOTHING])
    result = Result()
    for scenario in outages:
        limit = found[scenario.jump][generator.cell]
        during = affected(rng, mean[WARM_UP_BINS : WARM_UP_BINS + scenario.bins], generator, [scenario])
        evidence = log_likelihood_ratio(
            np.concatenate([quiet, during]), mean[: WARM_UP_BINS + scenario.bins], generator.dispersion, scenario.jump
        )
        state, delay = np.zeros(generator.keys), np.full(generator.keys, np.inf)
        for index, bin_ in enumerate(np.minimum(evidence, BIN_SHARE * limit)):
            state = np.maximum(state + bin_, 0)
            alarm = state >= limit
            if index < WARM_UP_BINS:
                state[alarm] = 0
            else:
                delay[alarm & np.isinf(delay)] = index - WARM_UP_BINS + 1
        none = np.full(generator.keys, np.nan)
        result.outages[scenario.name] = Outages(generator.cell, delay, none, np.isfinite(delay).astype(np.int64))
    return result
