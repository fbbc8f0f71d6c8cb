"""What can be asked of the read model over time: levels of a service, sparklines of all, the series of an outage."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.archive import QUARTER_MS
from streams.events import DAY_MS, MINUTE_MS, Levels, LevelState, Outage, Series, decode
from streams.outages import WHOLE_SERVICE
from streams.web import rows, shapes
from streams.web.database import meta, newest_ms
from streams.web.model import BINS_KEPT_MS, QUARTERS_KEPT_MS
from streams.web.query import Query, UnknownError
from streams.web.rows import Row

LENGTHS_MS: dict[shapes.Range, int] = {
    "15m": 15 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "24h": DAY_MS,
    "7d": 7 * DAY_MS,
}
#: Normal quarters without which nothing is said of how far they spread.
_LEAST_QUARTERS = 8
#: Standard deviations on either side of what is usual.
_BAND = 2.0
_HOUR_MS = 60 * MINUTE_MS


@dataclass(slots=True)
class _Column:
    """Figures of one region by the start of their bin or quarter."""

    at: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


class Ranges:
    """Questions about stretches of time.

    Parameters
    ----------
    query
        Where the read model is asked.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._settings = query.settings
        self._bin_ms = query.bin_ms
        #: The last answer to `sparklines`, and what it was made of.
        self._sparklines: tuple[tuple[str, str, int] | None, shapes.Sparklines] = (None, _no_sparklines())

    def levels(
        self, service: str, range_: shapes.Range, step: shapes.Step | None = None, regions: Sequence[str] = ()
    ) -> shapes.LevelRange:
        """Return a service over a stretch of time that ends with the newest bin.

        Parameters
        ----------
        service
            Its name.
        range_
            How long a stretch.
        step
            Bins or quarters of an hour; without it bins, but quarters for a week. Bins are kept for a day only.
        regions
            Which regions; `*` stands for all, and none for the whole service.

        Raises
        ------
        UnknownError
            If the service or a region is not watched.
        """
        step = step or ("quarter" if range_ == "7d" else "bin")
        with self._query.database.reading() as db:
            newest = newest_ms(db)
            found = db.execute("SELECT levels FROM services WHERE service = ?", (service,)).fetchone()
            if found is None or newest is None:
                raise UnknownError(f"no service {service!r} is watched")
            now = decode(found[0], Levels)
            wanted = _wanted(now, regions)
            end_ms = newest + self._bin_ms
            if step == "bin":
                step_ms = self._bin_ms
                length = math.ceil(min(LENGTHS_MS[range_], BINS_KEPT_MS - self._bin_ms) / step_ms)
                table, column, start_ms = "levels", "bin_ms", end_ms - length * step_ms
            else:
                # a quarter is stated once it is over
                step_ms = QUARTER_MS
                length = LENGTHS_MS[range_] // step_ms
                end_ms = newest // QUARTER_MS * QUARTER_MS
                table, column, start_ms = "quarters", "start_ms", end_ms - length * step_ms
            columns = _columns(db, table, column, service, start_ms, wanted)
            dispersions = _dispersions(db, service, newest)
            shades = db.execute(
                "SELECT id, region, state, opened_ms, closed_ms FROM incidents WHERE service = ? AND opened_ms < ?"
                " AND (closed_ms IS NULL OR closed_ms > ?) ORDER BY opened_ms, id",
                (service, end_ms, start_ms),
            ).fetchall()
        limits = {each.region: (each.raise_above, each.clear_below) for each in now.regions}
        return shapes.LevelRange(
            service=service,
            range=range_,
            step_ms=step_ms,
            start_ms=start_ms,
            end_ms=end_ms,
            length=length,
            regions=[
                _level_series(
                    region,
                    columns.get(region, _Column()),
                    (start_ms, step_ms, length),
                    self._settings.count.window_bins,
                    dispersions.get(region),
                    limits.get(region, (None, None)),
                )
                for region in wanted
            ],
            incidents=[
                shapes.Shade(id=id_, region=region, state=state, opened_ms=opened_ms, closed_ms=closed_ms)
                for id_, region, state, opened_ms, closed_ms in shades
                if region in wanted or WHOLE_SERVICE in wanted
            ],
        )

    def sparklines(self, services: Sequence[str] = ()) -> shapes.Sparklines:
        """Return the last day of some services in quarters of an hour; without those that have none in it.

        Parameters
        ----------
        services
            Their names; all if none is named.
        """
        made = self._all_sparklines()
        if not services:
            return made
        own = {name: made.services[name] for name in sorted(services) if name in made.services}
        return msgspec.structs.replace(made, services=own)

    def _all_sparklines(self) -> shapes.Sparklines:
        with self._query.database.reading() as db:
            newest = newest_ms(db)
            if newest is None:
                return _no_sparklines()
            end_ms = newest // QUARTER_MS * QUARTER_MS
            length = DAY_MS // QUARTER_MS
            start_ms = end_ms - DAY_MS
            made_of = meta(db, "name"), meta(db, "quarters"), end_ms
            if self._sparklines[0] == made_of:
                return self._sparklines[1]
            points: dict[str, list[tuple[int, int | None, float | None]]] = defaultdict(list)
            for service, *point in db.execute(
                "SELECT service, start_ms, CASE WHEN state IN ('sensor-lost', 'unobserved') THEN NULL ELSE count END,"
                " expected FROM quarters WHERE start_ms >= ? AND start_ms < ?",
                (start_ms, end_ms),
            ):
                points[service].append((point[0], point[1], point[2]))
            # what `_dispersion` makes of the same quarters, but there may be a million of them
            spread: dict[str, float] = dict(
                db.execute(
                    "SELECT service, avg((count - expected) * (count - expected) / expected) FROM quarters"
                    " WHERE start_ms > ? AND start_ms < ? AND state = 'normal' AND expected > 0"
                    " GROUP BY service HAVING count(*) >= ?",
                    (newest - QUARTERS_KEPT_MS, end_ms, _LEAST_QUARTERS),
                )
            )
        made = shapes.Sparklines(
            step_ms=QUARTER_MS,
            start_ms=start_ms,
            length=length,
            services={
                name: shapes.Sparkline(
                    window=rows.column(
                        [each[1] for each in points[name]], start_ms, QUARTER_MS, length, _at(points[name])
                    ),
                    usual=rows.column(
                        [each[2] for each in points[name]], start_ms, QUARTER_MS, length, _at(points[name])
                    ),
                    dispersion=rows.significant(max(1.0, spread[name])) if name in spread else None,
                )
                for name in sorted(points)
            },
        )
        self._sparklines = made_of, made
        return made

    def outage(self, outage: Outage) -> shapes.OutageSeries:
        """Return what was counted around an outage, bin by bin.

        Parameters
        ----------
        outage
            Its last document.
        """
        start_ms = outage.opened_ms - _HOUR_MS
        with self._query.database.reading() as db:
            found = db.execute("SELECT document FROM series WHERE outage = ? ORDER BY region, start_ms", (outage.id,))
            columns: dict[str, _Column] = defaultdict(_Column)
            complete = outage.state != "open"
            ends: set[str] = set()
            for (document,) in found:
                piece = decode(document, Series)
                _add(columns[piece.region], piece)
                if piece.last and piece.start_ms + len(piece.count) * piece.bin_length_ms >= outage.at_ms + _HOUR_MS:
                    ends.add(piece.region)
            names = [region.region for region in outage.regions]
            names += [WHOLE_SERVICE] if WHOLE_SERVICE in columns and WHOLE_SERVICE not in names else []
            complete = complete and ends >= set(names)
            if not complete:
                until_ms = 2**63 - 1 if outage.state == "open" else outage.at_ms + _HOUR_MS
                recent = db.execute(
                    "SELECT bin_ms, regions FROM levels WHERE service = ? AND bin_ms >= ? AND bin_ms < ?"
                    " ORDER BY bin_ms",
                    (outage.service, start_ms, until_ms),
                )
                for bin_ms, packed in recent:
                    for row in rows.unpack(packed):
                        if row.region in names:
                            columns[row.region].at.append(bin_ms)
                            columns[row.region].rows.append(row)
        last_ms = max((at for name in names for at in columns[name].at), default=start_ms - self._bin_ms)
        length = (last_ms + self._bin_ms - start_ms) // self._bin_ms
        window_bins = self._settings.count.window_bins
        made = [
            _level_series(name, columns[name], (start_ms, self._bin_ms, length), window_bins, None, (None, None))
            for name in names
        ]
        return shapes.OutageSeries(
            outage=outage.id,
            complete=complete,
            step_ms=self._bin_ms,
            start_ms=start_ms,
            length=length,
            regions=[
                shapes.RegionSeries(
                    region=each.region, count=each.count, window=each.window, usual=each.usual, state=each.state
                )
                for each in made
            ],
        )


def _no_sparklines() -> shapes.Sparklines:
    return shapes.Sparklines(step_ms=QUARTER_MS, start_ms=None, length=0, services={})


def _at(points: Iterable[tuple[int, int | None, float | None]]) -> list[int]:
    return [at_ms for at_ms, _, _ in points]


def _wanted(now: Levels, regions: Sequence[str]) -> list[str]:
    """Return the regions that are asked for."""
    watched = [each.region for each in now.regions]
    if "*" in regions:
        return [WHOLE_SERVICE, *(region for region in watched if region != WHOLE_SERVICE)]
    wanted = list(dict.fromkeys(regions)) or [WHOLE_SERVICE]
    for region in wanted:
        if region != WHOLE_SERVICE and region not in watched:
            raise UnknownError(f"service {now.service!r} is not watched in a region {region!r}")
    return wanted


def _columns(
    db: sqlite3.Connection, table: str, column: str, service: str, start_ms: int, wanted: Sequence[str]
) -> dict[str, _Column]:
    """Return the figures of a service from a point in time on, by region."""
    columns = {region: _Column() for region in wanted}
    # unpacking all regions takes longer than the rest
    regions = "regions" if any(region != WHOLE_SERVICE for region in wanted) else "NULL"
    bins = "bins" if table == "quarters" else "1"
    for at_ms, count, window, expected, state, own_bins, packed in db.execute(
        f"SELECT {column}, count, window, expected, state, {bins}, {regions} FROM {table}"
        f" WHERE service = ? AND {column} >= ? ORDER BY {column}",
        (service, start_ms),
    ):
        found = [] if packed is None else [each for each in rows.unpack(packed) if each.region != WHOLE_SERVICE]
        for row in (Row(WHOLE_SERVICE, count, window, expected, state, bins=own_bins), *found):
            if row.region in columns:
                columns[row.region].at.append(at_ms)
                columns[row.region].rows.append(row)
    return columns


def _dispersions(db: sqlite3.Connection, service: str, newest: int) -> dict[str, float | None]:
    """Return how far normal quarters of each region spread around what is expected."""
    spread: dict[str, list[float]] = defaultdict(list)
    for count, expected, state, packed in db.execute(
        "SELECT count, expected, state, regions FROM quarters WHERE service = ? AND start_ms > ?",
        (service, newest - QUARTERS_KEPT_MS),
    ):
        own = [each for each in rows.unpack(packed) if each.region != WHOLE_SERVICE]
        for row in (Row(WHOLE_SERVICE, count, 0, expected, state), *own):
            if row.state == "normal" and row.expected:
                spread[row.region].append((row.count - row.expected) ** 2 / row.expected)
    return {region: _dispersion(each) for region, each in spread.items()}


def _dispersion(squares: Sequence[float]) -> float | None:
    """Return Pearson's estimate of variance over mean: the mean of (count - expected)^2 / expected, at least 1."""
    if len(squares) < _LEAST_QUARTERS:
        return None
    return rows.significant(max(1.0, math.fsum(squares) / len(squares)))


def _level_series(
    region: str,
    own: _Column,
    steps: tuple[int, int, int],
    window_bins: int,
    dispersion: float | None,
    limits: tuple[int | None, int | None],
) -> shapes.LevelSeries:
    start_ms, step_ms, length = steps

    def column(values: list[Any]) -> list[Any]:
        return rows.column(values, start_ms, step_ms, length, own.at)

    usual = column([each.usual(window_bins) for each in own.rows])
    state: list[LevelState | None] = column([each.state for each in own.rows])
    return shapes.LevelSeries(
        region=region,
        count=column([each.count for each in own.rows]),
        window=column([each.window for each in own.rows]),
        usual=usual,
        low=[_edge(each, dispersion, -_BAND) for each in usual],
        high=[_edge(each, dispersion, _BAND) for each in usual],
        state=state,
        raise_above=limits[0],
        clear_below=limits[1],
    )


def _edge(usual: float | None, dispersion: float | None, deviations: float) -> float | None:
    if usual is None or dispersion is None:
        return None
    return rows.significant(max(0.0, usual + deviations * math.sqrt(dispersion * usual)))


def _add(column: _Column, piece: Series) -> None:
    """Add the judged bins of a piece of a series."""
    for number, (count, window, expected, state) in enumerate(
        zip(piece.count, piece.window, piece.expected, piece.state, strict=True)
    ):
        if count is not None and window is not None and state is not None:
            column.at.append(piece.start_ms + number * piece.bin_length_ms)
            column.rows.append(Row(piece.region, count, window, expected, state))
