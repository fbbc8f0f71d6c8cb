"""The study's figures as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.study.generator import CELLS
from benchmarks.study.runs import Result
from benchmarks.study.scenarios import LASTING, LONGEST_BINS, SCENARIOS
from detectors.backtest import Outages

#: Delays are pooled over the cells of these levels: below, an hour of x2 is within the noise.
POOLED = np.array([index for index, cell in enumerate(CELLS) if cell.level >= 5])


def number(value: float) -> str:
    """Return a figure short: an infinite one as the sign."""
    return "∞" if np.isinf(value) else "-" if np.isnan(value) else f"{value:.3g}"


def quiet_lines(result: Result) -> Iterator[str]:
    """Yield the false incidents by condition."""
    yield "false incidents per key and 30 d     rate    95 % interval    worst cell   key-30 d"
    for name, quiet in result.quiet.items():
        low, high = quiet.interval()
        yield (
            f"  {name:32} {quiet.per_30_days():7.3f}   {low:6.3f} - {high:6.3f}   {quiet.worst():9.2f}"
            f"  {quiet.days.sum() / 30:9.0f}"
        )


def outage_lines(result: Result) -> Iterator[str]:
    """Yield what became of each scenario, pooled over the levels of 5 a minute and more."""
    yield "levels >= 5 a minute           detected  delay p50/p90/mean   clear p50/p90  incidents       n"
    for scenario in SCENARIOS:
        if scenario.name in result.outages:
            pooled = result.outages[scenario.name].of(POOLED)
            yield (
                f"  {scenario.name:28} {100 * pooled.detected():6.1f} %  "
                f"{number(pooled.delay(50)):>5}/{number(pooled.delay(90)):>4}/"
                f"{number(pooled.mean_delay(LONGEST_BINS)):>5}   "
                f"{number(pooled.clear(50)):>5}/{number(pooled.clear(90)):>5}   {pooled.incidents_per_outage():8.3f}"
                f"  {len(pooled.group):7d}"
            )
    pranks = [result.outages[each.name] for each in SCENARIOS if not each.is_outage and each.name in result.outages]
    if pranks:
        every = Outages.joined(pranks)
        yield f"  pranks that raised, all levels: {int((every.incidents > 0).sum())} of {len(every.group)}"


def cell_lines(result: Result) -> Iterator[str]:
    """Yield the figures of every cell."""
    names = [each.name for each in SCENARIOS if each.name in result.outages and each.is_outage]
    yield f"{'level':>6} {'phi':>4} " + " ".join(f"{name[:19]:>19}" for name in [*result.quiet, *names])
    for index, cell in enumerate(CELLS):
        quiet = [f"{30 * each.incidents[index] / each.days[index]:.2f}" for each in result.quiet.values()]
        own = [result.outages[name].of(np.array([index])) for name in names]
        outages = [f"{each.detected():4.0%} {number(each.delay(50))}/{number(each.delay(90))}" for each in own]
        yield f"{cell.level:6g} {cell.dispersion:4g} " + " ".join(f"{text:>19}" for text in quiet + outages)


def delay_ratios(result: Result, bound: Result) -> dict[tuple[str, int], float]:
    """Return the mean delay over the clairvoyant's, by lasting outage and cell; none counts as `LONGEST_BINS`."""
    return {
        (scenario.name, index): result.outages[scenario.name].of(np.array([index])).mean_delay(LONGEST_BINS)
        / bound.outages[scenario.name].of(np.array([index])).mean_delay(LONGEST_BINS)
        for scenario in LASTING
        if scenario.name in result.outages
        for index in range(len(CELLS))
    }


def ratio_lines(ratios: Mapping[tuple[str, int], float]) -> Iterator[str]:
    """Yield how the delays compare with the clairvoyant's."""
    if not ratios:
        return
    values = np.array(list(ratios.values()))
    (name, index), worst = max(ratios.items(), key=lambda item: item[1])
    yield (
        f"mean delay over the clairvoyant's, {len(values)} cells: geometric mean {np.exp(np.log(values).mean()):.3f}, "
        f"max {worst:.2f} ({name}, level {CELLS[index].level:g}, dispersion {CELLS[index].dispersion:g})"
    )
    for scenario in LASTING:
        row = [ratios[scenario.name, place] for place in range(len(CELLS))]
        yield f"  {scenario.name:12} " + " ".join(f"{value:5.2f}" for value in row)


def lines(result: Result, bound: Result | None, by_cell: bool) -> Sequence[str]:
    """Return all of it."""
    found = [*(quiet_lines(result) if result.quiet else ()), *outage_lines(result)]
    if bound is not None:
        found += ratio_lines(delay_ratios(result, bound))
    if by_cell:
        found += cell_lines(result)
    return found
