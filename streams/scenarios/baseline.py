"""The usual level of reports: a compact description, and counts drawn from it that are the same every time.

The mean of a minute is the region's level times the shape of the day times that of the week, in local time. Around
it the counts are negative binomial with variance = dispersion x mean. A draw is the quantile of that distribution at
a uniform number that is a hash (SplitMix64: Steele, Lea and Flood, 2014) of seed, service, region and bin: any bin can
be drawn on its own, and no generator's version matters.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import nbdtrik

from streams.events import DAY_MS, MINUTE_MS

HOUR_MS = 60 * MINUTE_MS
QUARTER_MS = 15 * MINUTE_MS


class Baseline(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the usual levels of a scenario share: shapes by local hour and by weekday (Monday first).

    Only proportions count: the mean over a week is the region's level whatever the shapes add up to.
    """

    seed: int
    daily_shape: Annotated[tuple[float, ...], msgspec.Meta(min_length=24, max_length=24)]
    weekly_shape: Annotated[tuple[float, ...], msgspec.Meta(min_length=7, max_length=7)]


class Level(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The usual level of one service in one region; `dispersion` is variance over mean."""

    service: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = "x"
    region: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    mean_per_minute: Annotated[float, msgspec.Meta(gt=0)]
    dispersion: Annotated[float, msgspec.Meta(gt=1)] = 1.5


def usual_means(baseline: Baseline, level: Level, timezone: str, start_ms: int, bins: int) -> npt.NDArray[np.float64]:
    """Return the mean number of reports of each of `bins` minutes from `start_ms` on."""
    starts_ms = start_ms + np.arange(bins, dtype=np.int64) * MINUTE_MS
    local_ms = starts_ms + _utc_offsets_ms(timezone, starts_ms)
    # The shapes hold at the middle of an hour; in between they run straight. 1970-01-01 was a Thursday (3).
    hours = local_ms % DAY_MS / HOUR_MS
    daily = np.interp(hours, np.arange(24) + 0.5, baseline.daily_shape, period=24) / np.mean(baseline.daily_shape)
    weekly = np.asarray(baseline.weekly_shape)[(local_ms // DAY_MS + 3) % 7] / np.mean(baseline.weekly_shape)
    return np.asarray(level.mean_per_minute * daily * weekly)


def usual_counts(baseline: Baseline, level: Level, timezone: str, start_ms: int, bins: int) -> npt.NDArray[np.int64]:
    """Return the number of reports of each of `bins` minutes from `start_ms` on, as on an ordinary day."""
    means = usual_means(baseline, level, timezone, start_ms, bins)
    uniform = _uniform(f"{baseline.seed}/{level.service}/{level.region}", start_ms // MINUTE_MS + np.arange(bins))
    # Size r and success probability p of the negative binomial with this mean and variance.
    quantile = nbdtrik(uniform, means / (level.dispersion - 1), 1 / level.dispersion)
    # Below the probability of no report at all the continuous quantile is not defined.
    return np.ceil(np.nan_to_num(quantile)).clip(0).astype(np.int64)


def _utc_offsets_ms(timezone: str, starts_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    zone = ZoneInfo(timezone)
    quarters, quarter_of = np.unique(starts_ms // (HOUR_MS // 4), return_inverse=True)
    offsets = [
        datetime.fromtimestamp(int(q) * (HOUR_MS // 4) / 1000, UTC).astimezone(zone).utcoffset() for q in quarters
    ]
    offsets_ms = np.array([int(offset.total_seconds()) * 1000 for offset in offsets if offset is not None])
    return np.asarray(offsets_ms[quarter_of])


def _uniform(stream: str, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    key = int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        z = np.uint64(key) + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
