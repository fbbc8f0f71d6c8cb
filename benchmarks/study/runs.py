"""Running a detector over the study's counts: learn once, then watch quiet days and try every outage from there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.generator import CELLS, DAY_BINS, MINUTE_MS, START_MS, Condition, Generator, counts_of
from benchmarks.study.scenarios import NOTHING, SCENARIOS, Scenario
from detectors import Detector
from detectors.backtest import Incidents, Outages, Quiet

#: A cold start raises nothing in its first two days: they are not counted as watched.
COLD_DAYS = 2
COLD = "cold start"
CLEAN = Condition("clean")


def conditions(learn_days: int, watch_days: int) -> tuple[Condition, ...]:
    """Return the conditions of the study; what happens on one day happens in the middle of the watched days."""
    middle = learn_days + watch_days // 4
    return (
        CLEAN,
        Condition("slow noise, sd 0.3", noise_sd=0.3),
        Condition("slow noise, sd 0.15", noise_sd=0.15),
        Condition("daylight saving", shift_day=middle, shift_told=True),
        Condition("hour shift, not told", shift_day=middle),
        Condition("gap of a day", gap_day=middle),
    )


@dataclass
class Result:
    """The figures of one detector: false incidents by condition, outages by scenario, both by cell."""

    quiet: dict[str, Quiet] = field(default_factory=dict)
    outages: dict[str, Outages] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[Result]) -> Result:
        """Return the results of several seeds as one."""
        return cls(
            {name: Quiet.joined([part.quiet[name] for part in parts]) for name in parts[0].quiet},
            {name: Outages.joined([part.outages[name] for part in parts]) for name in parts[0].outages},
        )


def run(
    make: Callable[[], Detector],
    seed: int,
    keys_per_cell: int,
    *,
    learn_days: int = 28,
    watch_days: int = 28,
    scenarios: Sequence[Scenario] = SCENARIOS,
    under: Sequence[Condition] | None = None,
    branch_days: int = 7,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Run a detector.

    Parameters
    ----------
    make
        Returns a new detector without keys, with bins of a minute.
    seed
        Another seed gives other shapes and counts.
    keys_per_cell
        How many keys each cell has under each condition; each gives one outage per scenario and branch.
    learn_days, watch_days
        Days before incidents count, and days in which they do.
    scenarios
        Outages tried from the state after learning, and from every `branch_days` after it; only on clean counts.
    under
        The conditions; `CLEAN` must be the first.
    progress
        Told the share that is done.
    """
    under = conditions(learn_days, watch_days) if under is None else under
    generators = [Generator(seed, condition, keys_per_cell) for condition in under]
    each = generators[0].keys
    detector = make()
    detector.resize(each * len(generators))
    incidents = Incidents(detector.keys)
    opened_in = np.zeros(detector.keys, np.int64)
    cold = np.zeros(each, np.int64)
    outages: dict[str, list[Outages]] = defaultdict(list)
    days = learn_days + watch_days
    for day in range(days):
        if day == learn_days:
            cold = opened_in[:each].copy()
        if day in (COLD_DAYS, learn_days):
            opened_in[:] = 0
        if scenarios and day >= learn_days and (day - learn_days) % branch_days == 0:
            for name, found in _branch(make, detector, incidents, generators[0], seed, day, scenarios):
                outages[name].append(found)
        parts = [generator.day(day) for generator in generators]
        counts = np.concatenate([part.counts for part in parts], axis=1)
        observed = np.concatenate([part.observed for part in parts], axis=1)
        offsets = np.concatenate([part.local_offset_s for part in parts])
        for index in range(DAY_BINS):
            at_ms = START_MS + (day * DAY_BINS + index) * MINUTE_MS
            verdict = detector.step(at_ms, counts[index], observed[index], incidents.is_open, offsets)
            opened, _ = incidents.step(verdict, counts[index], observed[index])
            opened_in += opened
        progress((day + 1) / days)
    cell = generators[0].cell
    quiet = {
        condition.name: _quiet(opened_in[place * each : (place + 1) * each], cell, watch_days)
        for place, condition in enumerate(under)
    }
    if learn_days > COLD_DAYS:
        quiet[COLD] = _quiet(cold, cell, learn_days - COLD_DAYS)
    return Result(quiet, {name: Outages.joined(found) for name, found in outages.items()})


def _quiet(opened: NDArray[np.int64], cell: NDArray[np.int64], days: int) -> Quiet:
    keys = np.bincount(cell, minlength=len(CELLS)).astype(np.float64)
    return Quiet(np.bincount(cell, opened, len(CELLS)).astype(np.int64), keys * days)


def _branch(
    make: Callable[[], Detector],
    learnt: Detector,
    before: Incidents,
    generator: Generator,
    seed: int,
    day: int,
    scenarios: Sequence[Scenario],
) -> Iterator[tuple[str, Outages]]:
    """Try the scenarios from the state before `day`, on copies of the first keys; those of like length together."""
    by_length: dict[bool, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        by_length[scenario.bins + scenario.tail_bins > 240].append(scenario)
    for is_long, group in by_length.items():
        yield from _tried(make, learnt, before, generator, [seed, 2, day, is_long], day, group)


def _tried(
    make: Callable[[], Detector],
    learnt: Detector,
    before: Incidents,
    generator: Generator,
    seed: Sequence[int],
    day: int,
    scenarios: Sequence[Scenario],
) -> Iterator[tuple[str, Outages]]:
    tried = [*scenarios, NOTHING]
    each, copies = generator.keys, len(tried)
    keys = np.tile(np.arange(each), copies)
    detector = make()
    detector.resize(len(keys))
    detector.restore(slice(None), learnt.snapshot(keys))
    incidents = before.take(keys)
    was_open = before.is_open[:each].copy()

    bins = max(scenario.bins + scenario.tail_bins for scenario in scenarios)
    counts = affected(np.random.default_rng(seed), generator.mean(day * DAY_BINS, bins), generator, tried)
    end = np.repeat([scenario.bins for scenario in tried], each)
    last = np.repeat([*(scenario.bins + scenario.tail_bins for scenario in scenarios), bins], each)
    offsets = np.tile(generator.offset_s(day), copies)
    observed = np.ones(len(keys), np.bool_)
    first_opened, last_closed = np.full(len(keys), np.inf), np.full(len(keys), np.inf)
    number = np.zeros(len(keys), np.int64)
    for index in range(bins):
        at_ms = START_MS + (day * DAY_BINS + index) * MINUTE_MS
        verdict = detector.step(at_ms, counts[index], observed, incidents.is_open, offsets)
        opened, closed = incidents.step(verdict, counts[index], observed)
        opened &= index < last
        first_opened[opened & np.isinf(first_opened)] = index + 1
        number += opened
        last_closed[opened] = np.inf
        last_closed[closed & (index < last)] = index + 1
    detected = first_opened <= last
    clear = np.where(detected, np.maximum(last_closed - end, 0), np.nan)
    unaffected = first_opened[(copies - 1) * each :]
    for place, scenario in enumerate(tried[:-1]):
        own = slice(place * each, (place + 1) * each)
        # An outage is not detected after its end; a prank is to blame for what would not have been raised without it.
        missed = first_opened[own] > scenario.bins if scenario.is_outage else unaffected <= last[own]
        found = Outages(
            generator.cell,
            np.where(missed, np.inf, first_opened[own]),
            clear[own],
            number[own] if scenario.is_outage else np.where(missed, 0, number[own]),
        )
        yield scenario.name, found.where(~was_open)


def affected(
    rng: np.random.Generator, mean: NDArray[np.float64], generator: Generator, scenarios: Sequence[Scenario]
) -> NDArray[np.float64]:
    """Return counts with the scenarios from the first bin on, shape (bins, scenarios x K); `mean` is (bins, K).

    What is no outage happens to the same counts each time: only what it changes is different.
    """
    same = counts_of(rng, mean, generator.dispersion)
    parts = []
    for scenario in scenarios:
        factors = np.append(scenario.factors, np.ones(len(mean) - scenario.bins))[:, np.newaxis]
        if scenario.is_outage:
            parts.append(counts_of(rng, mean * factors, generator.dispersion))
            continue
        counts = same * factors
        if scenario.burst_reports:
            counts[0] += np.maximum(50, np.round(scenario.burst_reports * mean[0]))
        parts.append(counts)
    return np.concatenate(parts, axis=1)
