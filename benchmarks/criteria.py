"""What a soak run is judged by, and how each figure is reckoned from its samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from benchmarks.feed import Fed
from benchmarks.incidentlog import Comparison
from benchmarks.samples import Metrics, Sample, total
from streams.worker import STAGES

MB = 1e6
#: Growth of the resident memory of a stage: that of the second half of the run, with the epochs averaged out.
MAX_GROWTH_MB_PER_H = 20.0
#: Up to where counts are acknowledged, behind the clock less the allowed lateness: in 99 of 100 samples, and always.
MAX_COUNTING_P99_S, MAX_COUNTING_S = 5.0, 30.0
#: End of the last judged bin behind the clock, less the allowed lateness and a bin.
MAX_JUDGING_P99_S = 15.0
#: Share of the samples in which every stage has answered.
MIN_SHOWN = 0.99


class Verdict(NamedTuple):
    """One criterion, what was measured, and whether it is met; None where the run was too short to say."""

    criterion: str
    measured: str
    met: bool | None


def growth_mb_per_h(at_s: Sequence[float], rss_bytes: Sequence[int], epoch_s: float) -> float | None:
    """Return the growth of memory over the last two epochs: the slope of its mean over a sliding epoch.

    A stage holds the reporters of an epoch and drops them at its end; the mean over a whole epoch is the same wherever
    it begins, so what is left is growth.

    Parameters
    ----------
    at_s, rss_bytes
        The samples, evenly spaced.
    epoch_s
        Length of an epoch in seconds.

    Returns
    -------
    float or None
        MB per hour; None if the samples span less than four epochs, so that the last two are not half of the run.
    """
    times, rss = np.array(at_s), np.array(rss_bytes, np.float64)
    if len(times) < 8 or times[-1] - times[0] < 3.9 * epoch_s:
        return None
    spacing_s = (times[-1] - times[0]) / (len(times) - 1)
    width = round(epoch_s / spacing_s)
    means = np.convolve(rss[-2 * width :], np.full(width, 1 / width), "valid")
    slope = np.polynomial.Polynomial.fit(np.arange(len(means)) * spacing_s, means, 1).convert().coef[1]
    return float(slope * 3600 / MB)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed; NaN of none."""
    return float(np.percentile(values, percent, method="higher")) if len(values) else float("nan")


def lags(samples: Sequence[Sample], stage: str) -> list[int]:
    """Return the lag of a stage in every sample that has it."""
    return [sample.lag_records[stage] for sample in samples if stage in sample.lag_records]


def memory(samples: Sequence[Sample], epoch_s: float) -> list[Verdict]:
    """Judge the growth of every stage."""
    return [_growth(samples, stage, epoch_s) for stage in STAGES]


def _growth(samples: Sequence[Sample], process: str, epoch_s: float) -> Verdict:
    own = [sample for sample in samples if process in sample.rss_bytes]
    growth = growth_mb_per_h([each.at_s for each in own], [each.rss_bytes[process] for each in own], epoch_s)
    text = f"less than four epochs of {epoch_s / 60:.0f} min: not judged" if growth is None else f"{growth:+.1f} MB/h"
    return Verdict(
        f"memory of {process} grows by at most {MAX_GROWTH_MB_PER_H:.0f} MB/h over the last two epochs",
        text,
        None if growth is None else growth <= MAX_GROWTH_MB_PER_H,
    )


def lag(samples: Sequence[Sample], bin_s: int, lateness_s: int) -> list[Verdict]:
    """Judge how far counting and judging are behind: what is counted, stated and acknowledged, by event time."""
    counting = [each.watermark_delay_s - lateness_s for each in samples if each.watermark_delay_s is not None]
    judging = [each.judged_delay_s - lateness_s - bin_s for each in samples if each.judged_delay_s is not None]
    return [
        _bounded("counts are behind the clock by the allowed lateness", counting, 99, MAX_COUNTING_P99_S),
        _bounded("counts are behind the clock by the allowed lateness", counting, 100, MAX_COUNTING_S),
        _bounded("the last judged bin is behind by the lateness, a bin", judging, 99, MAX_JUDGING_P99_S),
    ]


def _bounded(what: str, values: Sequence[float], percent: float, limit_s: float) -> Verdict:
    found_s = percentile(values, percent)
    where = "always" if percent == 100 else f"in {percent:.0f} % of samples"
    return Verdict(f"{what} and at most {limit_s:.0f} s {where}", f"{found_s:.1f} s", found_s <= limit_s)


def answers(samples: Sequence[Sample]) -> list[Verdict]:
    """Judge whether /metrics showed every stage whenever it was asked."""
    shown = {stage: len(lags(samples, stage)) for stage in STAGES}
    least = min(shown.values()) / len(samples) if samples else 0.0
    missing = ", ".join(f"{stage} {len(samples) - count}" for stage, count in shown.items() if count < len(samples))
    text = f"not shown of {len(samples)} times: {missing}" if missing else f"all of {len(samples)} times"
    return [Verdict(f"/metrics shows every stage in {MIN_SHOWN:.0%} of samples", text, least >= MIN_SHOWN)]


def completeness(fed: Fed, metrics: Metrics) -> list[Verdict]:
    """Judge whether every record that was written was taken for what it is.

    Parameters
    ----------
    fed
        What was written.
    metrics
        What the workers have counted; valid if none of them has restarted.
    """
    read = (total(metrics, "tocsin_count_records_read_total") or 0) - (total(metrics, "tocsin_count_ticks_total") or 0)
    found = {
        name: total(metrics, f"tocsin_count_{metric}") or 0
        for name, metric in (
            ("accepted", "reports_accepted_total"),
            ("duplicate", "reports_duplicate_total"),
            ("late", "reports_late_total"),
            ("dead letters", "dead_letters_total"),
        )
    }
    known = ", ".join(f"{count:,.0f} {name}" for name, count in found.items())
    late, dead = found["late"], found["dead letters"]
    return [
        Verdict(
            "every record written is read once",
            f"{fed.records:,} written, {read:,.0f} read beside the ticks",
            fed.records == read,
        ),
        Verdict("every record is counted as what it is", known, sum(found.values()) == fed.records),
        Verdict(
            "late reports and dead letters are those that were made",
            f"{late:,.0f} of {fed.late:,} late, {dead:,.0f} of {fed.malformed:,} dead letters",
            (late, dead) == (fed.late, fed.malformed),
        ),
    ]


def facts(comparison: Comparison, samples: Sequence[Sample]) -> list[Verdict]:
    """Judge what the cluster has stated."""
    seen = max((sample.contradicted for sample in samples if sample.contradicted is not None), default=None)
    wrong = {"missing": comparison.missing, "not replayed": comparison.surplus, "different": comparison.differing}
    told = "; ".join(f"{len(names)} {what}, such as {'/'.join(names[0])}" for what, names in wrong.items() if names)
    return [
        Verdict(
            "no fact contradicts another",
            f"{len(comparison.contradicted)} of {comparison.facts:,}; tocsin_facts_contradicted_total is {seen}",
            not comparison.contradicted and seen == 0,
        ),
        Verdict(
            "incidents, outages and levels are those of a replay, byte for byte",
            told or f"{comparison.facts:,} facts, all the same",
            not told,
        ),
    ]


def restarts(samples: Sequence[Sample]) -> list[Verdict]:
    """Judge whether every stage has run through."""
    count = max((sample.restarts for sample in samples if sample.restarts is not None), default=None)
    return [Verdict("no stage was restarted", f"{count}", count == 0)]


def delays(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Return everything that is to be bounded, by what it is, in each sample that shows it."""
    found: dict[str, list[float | None]] = {
        **{f"lag of {stage}, records": [*map(float, lags(samples, stage))] for stage in STAGES},
        "watermark behind the clock, s": [each.watermark_delay_s for each in samples],
        "last judged bin behind the clock, s": [each.judged_delay_s for each in samples],
        **{
            f"age of the last commit of {stage}, s": [each.commit_age_s.get(stage) for each in samples]
            for stage in STAGES[:2]
        },
        "mean flush of 10 s, ms": _means_ms([(each.flushes, each.flush_s) for each in samples]),
        "mean close of a bin, ms": _means_ms([(each.closes, each.close_s) for each in samples]),
        "reporters held": [each.reporters for each in samples],
        "incidents open": [each.incidents_open for each in samples],
    }
    return {name: [value for value in values if value is not None] for name, values in found.items()}


def _means_ms(totals: Sequence[tuple[float | None, float | None]]) -> list[float | None]:
    """Return the mean between each two samples of a histogram's count and sum, where something was observed."""
    return [
        (sum_s - before_s) / (count - before) * 1000
        for (before, before_s), (count, sum_s) in pairwise(totals)
        if before is not None and before_s is not None and count is not None and sum_s is not None and count > before
    ]
