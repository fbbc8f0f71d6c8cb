"""What the read model keeps of a service in one bin or quarter: a row of figures a region, and the whole service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streams.events import Level, Levels, LevelState, QuarterLevels
from streams.outages import WHOLE_SERVICE
from streams.recent import GRAVITY

_RANK = {state: rank for rank, state in enumerate(GRAVITY)}


class Row(msgspec.Struct, array_like=True, frozen=True):
    """One region in one bin, or in the `bins` of a quarter: then `window` is the highest one, and `score` unknown."""

    region: str
    count: int
    window: int
    expected: float | None
    state: LevelState
    score: float | None = None
    bins: int = 1

    def usual(self, window_bins: int) -> float | None:
        """Return what is expected of a window, in reports."""
        return usual(None if self.expected is None else self.expected / self.bins, window_bins)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Row])


def pack(rows: Sequence[Row]) -> bytes:
    """Return rows as they are kept."""
    return _encoder.encode(rows)


def unpack(data: bytes) -> list[Row]:
    """Return what `pack` was given."""
    return _decoder.decode(data)


def of_levels(levels: Levels) -> list[Row]:
    """Return the rows of a bin."""
    return [Row(each.region, each.count, each.window, each.expected, each.state, each.score) for each in levels.regions]


def of_quarter(quarter: QuarterLevels) -> list[Row]:
    """Return the rows of a quarter."""
    return [
        Row(each.region, each.count, each.peak, each.expected, each.state, bins=each.bins) for each in quarter.regions
    ]


def whole_quarter(quarter: QuarterLevels) -> Row:
    """Return the row of the whole service; without one of its own, with the window that ends with the quarter.

    The highest windows of regions are not of the same time, and must not be added up.
    """
    made_of = of_quarter(quarter)
    if any(each.region == WHOLE_SERVICE for each in made_of):
        return whole(made_of)
    last = [
        msgspec.structs.replace(row, window=each.window) for row, each in zip(made_of, quarter.regions, strict=True)
    ]
    return whole(last)


def whole(rows: Sequence[Row | Level]) -> Row:
    """Return the row of the whole service: its own where it is watched as such, else the sum of its regions.

    The state is that of the gravest region. A service whose baseline is known in some regions only is expected to have
    what those are.
    """
    own = [each for each in rows if each.region == WHOLE_SERVICE] or rows
    known = [each.expected for each in own if each.expected is not None]
    return Row(
        WHOLE_SERVICE,
        sum(each.count for each in own),
        sum(each.window for each in own),
        significant(sum(known)) if known else None,
        gravest(each.state for each in rows),
        bins=max((each.bins for each in own if isinstance(each, Row)), default=1),
    )


def gravest(states: Iterable[LevelState]) -> LevelState:
    """Return the gravest of some states, `normal` of none; learning only where nothing else is known."""
    return min(states, key=_RANK.__getitem__, default="normal")


def rank(state: LevelState) -> int:
    """Return the place of a state in order of gravity."""
    return _RANK[state]


def significant(value: float) -> float:
    """Return a number to four significant digits, as facts publish it."""
    return float(f"{value:.4g}")


def usual(expected: float | None, window_bins: int) -> float | None:
    """Return what is expected of a window where `expected` is expected of a bin."""
    return None if expected is None else significant(expected * window_bins)


def ratio(window: int, usual_: float | None) -> float | None:
    """Return a window in multiples of the usual one."""
    return significant(window / usual_) if usual_ else None


def column(values: Sequence[Any], start: int, step: int, length: int, at: Sequence[int]) -> list[Any]:
    """Return values that belong to points in time as a column of equal steps, None where there is none."""
    found: list[Any] = [None] * length
    for moment, value in zip(at, values, strict=True):
        index, rest = divmod(moment - start, step)
        if not rest and 0 <= index < length:
            found[index] = value
    return found
