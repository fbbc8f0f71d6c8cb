"""What the soak run is fed with: a fleet of services in many regions, second by second, from a seed.

60 services in 12 regions, 720 series over four orders of magnitude, scattered by the minute. The day of every region
passes in the length of the run, by its own clock; the whole fleet keeps to one rate, but for the outages, which
come on top. A million people report, each from one partition: over an epoch of 15 minutes at 2,000 reports a second
some 800,000 of them. One report in a hundred is late, one record in a thousand is no report.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import MINUTE_MS
from streams.reportlog import LogRecord

SERVICES = 60
#: Share of the reports, and hours ahead of UTC.
REGIONS = {
    "US": (30, -6),
    "GB": (14, 0),
    "DE": (11, 1),
    "FR": (9, 1),
    "IN": (9, 5.5),
    "BR": (8, -3),
    "JP": (7, 9),
    "CA": (5, -5),
    "AU": (3, 10),
    "MX": (2, -6),
    "SE": (1.5, 1),
    "NZ": (0.5, 12),
}
KINDS = ("app", "website", "server-connection")
KIND_SHARES = (0.69, 0.23, 0.08)
#: Reports relative to the mean of the day, by local hour.
DAILY_SHAPE = np.array(
    [
        [0.62, 0.48, 0.41, 0.38, 0.40, 0.51],
        [0.70, 0.89, 1.03, 1.08, 1.09, 1.08],
        [1.08, 1.08, 1.09, 1.11, 1.13, 1.17],
        [1.22, 1.28, 1.30, 1.24, 1.09, 0.84],
    ]
).ravel()
PEOPLE = 1_500_000
LATE_SHARE, MALFORMED_SHARE = 0.01, 0.001
#: A report travels for 2 s on average, and never so long that it is late by itself.
MEAN_DELAY_MS, MAX_DELAY_MS = 2_000.0, 20_000
#: Event times of late reports: beyond the allowed lateness of 30 s.
LATE_MS = (60_000, 1_800_000)
#: Shape of the gamma distribution that scatters each series by the minute.
_SCATTER = 20.0


class Failing(NamedTuple):
    """An outage: services of these ranks (0 is the largest) in these regions report so many times as much."""

    ranks: tuple[int, ...]
    regions: tuple[str, ...]
    begin: float
    end: float
    factor: float


#: When, in parts of the run.
OUTAGES = (
    Failing(ranks=(0,), regions=("GB", "DE", "FR", "SE"), begin=0.25, end=0.45, factor=8.0),
    Failing(ranks=(7, 8), regions=tuple(REGIONS), begin=0.55, end=0.65, factor=12.0),
)

_BROKEN: tuple[bytes | None, ...] = (
    None,
    b"",
    b"no json",
    b'{"service":"mail","region":"US"',
    b'{"region":"US"}',
    b'{"service":"Not A Name","region":"US"}',
    b'{"service":"mail","region":"U S"}',
    b'{"service":"mail","region":"US","time":"yesterday"}',
    b'{"service":"mail","region":"US","time":"2999-01-01T00:00:00Z"}',
)


class Second(NamedTuple):
    """The records of one second, in the order in which they are written; of them so many late or no reports."""

    records: list[LogRecord]
    late: int
    malformed: int


class Fleet:
    """A run of so many seconds at `rate` reports a second.

    Parameters
    ----------
    rate
        Reports a second, outages apart.
    seconds
        Length of the run, in which the day of each region passes.
    partitions
        Number of partitions of the reports topic.
    seed
        Everything drawn is a function of it.
    """

    def __init__(self, rate: float, seconds: int, partitions: int, seed: int = 0) -> None:
        self.rate = rate
        self.seconds = seconds
        self._partitions = partitions
        self._rng = np.random.default_rng(seed)
        rank = np.arange(1, SERVICES + 1)
        region_share = np.array([share for share, _ in REGIONS.values()])
        own = np.random.default_rng(SERVICES).lognormal(0, 0.5, (SERVICES, len(REGIONS)))  # the same fleet for any seed
        level = (rank**-1.2)[:, None] * region_share * own
        #: Service and region of each series.
        self.names = [(f"service-{number:02}", region) for number in rank.tolist() for region in REGIONS]
        self._level = (level / level.sum()).ravel()
        self._hours_ahead = np.tile([ahead for _, ahead in REGIONS.values()], SERVICES)
        self._scatter: NDArray[np.float64] | None = None
        self._heads = [
            f'{{"service":"{service}","region":"{region}","kind":"{kind}","reporter":"'.encode()
            for service, region in self.names
            for kind in KINDS
        ]

    def usual_per_s(self, part: float) -> NDArray[np.float64]:
        """Return the usual reports a second of each series, at that part (0 to 1) of the run and so of the UTC day."""
        hour = (24 * part + self._hours_ahead) % 24
        shape = np.interp(hour, np.arange(25), np.append(DAILY_SHAPE, DAILY_SHAPE[0]))
        level: NDArray[np.float64] = self._level * shape
        level *= self.rate / level.sum()
        return level

    def expected_per_s(self, part: float) -> NDArray[np.float64]:
        """Return the reports a second of each series, outages included."""
        expected = self.usual_per_s(part)
        for outage in OUTAGES:
            if outage.begin <= part < outage.end:
                services = {self.names[rank * len(REGIONS)][0] for rank in outage.ranks}
                failing = [service in services and region in outage.regions for service, region in self.names]
                expected[failing] *= outage.factor
        return expected

    def history(self, end_ms: int, days: int) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
        """Yield the usual reports of each minute of the days before `end_ms`, as `streams.replay.backfill` learns."""
        minutes = days * 24 * 60
        levels = [self.usual_per_s(minute / (24 * 60)) * 60 for minute in range(24 * 60)]
        for before in range(minutes, 0, -1):
            bin_ms = end_ms - before * MINUTE_MS
            counts = self._rng.poisson(levels[bin_ms // MINUTE_MS % (24 * 60)])
            yield bin_ms, {self.names[row]: int(counts[row]) for row in np.flatnonzero(counts).tolist()}

    def second(self, number: int, start_ms: int) -> Second:
        """Return what is written in second `number` of the run, which begins at `start_ms` by the clock.

        The numbers are to be asked for in ascending order, each once.
        """
        if self._scatter is None or number % 60 == 0:
            self._scatter = self._rng.gamma(_SCATTER, 1 / _SCATTER, len(self.names))
        counts = self._rng.poisson(self.expected_per_s(number / self.seconds) * self._scatter)
        many = int(counts.sum())
        series = self._rng.permutation(np.repeat(np.arange(len(self.names)), counts))
        kind = self._rng.choice(len(KINDS), many, p=KIND_SHARES)
        person = self._rng.integers(0, PEOPLE, many)
        moment_ms = start_ms + np.sort(self._rng.integers(0, 1000, many))
        delay_ms = np.minimum(self._rng.exponential(MEAN_DELAY_MS, many), MAX_DELAY_MS)
        is_broken = self._rng.random(many) < MALFORMED_SHARE
        is_late = (self._rng.random(many) < LATE_SHARE) & ~is_broken
        delay_ms[is_late] = self._rng.uniform(*LATE_MS, int(is_late.sum()))
        times = np.datetime_as_string((moment_ms - delay_ms.astype(np.int64)).astype("datetime64[ms]"), timezone="UTC")
        columns = moment_ms, person % self._partitions, person, series * len(KINDS) + kind, times.astype("S")
        records = [
            LogRecord(at_ms, to, reporter := b"%08x" % who, b'%s%s","time":"%s"}' % (self._heads[of], reporter, time))
            for at_ms, to, who, of, time in zip(*(column.tolist() for column in columns), strict=True)
        ]
        for row in np.flatnonzero(is_broken).tolist():
            records[row] = msgspec.structs.replace(records[row], value=_BROKEN[int(person[row]) % len(_BROKEN)])
        return Second(records, int(is_late.sum()), int(is_broken.sum()))
