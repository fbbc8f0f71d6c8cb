"""What charts are made from once the levels are gone: levels of quarters of an hour, and the series around outages.

Both are stated when the first bin behind them is judged, from what is held of the last hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from streams.events import MINUTE_MS, SENSOR, Outage, QuarterLevel, QuarterLevels, Series, encode
from streams.keytable import KeyTable
from streams.outages import WHOLE_SERVICE
from streams.recent import Recent

QUARTER_MS = 15 * MINUTE_MS


class Stated(NamedTuple):
    """One record: its topic, the service that places it, its key and value."""

    topic: Literal["levels.15m", "series"]
    service: str
    key: bytes
    value: bytes


class Tape(msgspec.Struct):
    """What is still to be said of the series of one outage.

    `next_ms` is the start of the next bin of each region, and `until_ms` the end of the hour after the outage, while it
    is over.
    """

    outage: str
    next_ms: dict[str, int] = {}
    until_ms: int | None = None

    def follow(self, outage: Outage, recent: Recent, *, whole: bool) -> None:
        """Take in a change of the outage.

        Parameters
        ----------
        outage
            The document after a bin.
        recent
            What is held by then: nothing older can be told.
        whole
            Whether the whole service is watched as such: then it is told of as well.
        """
        held_ms = outage.at_ms - recent.bin_ms - recent.before_ms
        opened = {region.region: region.opened_ms for region in outage.regions}
        if whole:
            opened.setdefault(WHOLE_SERVICE, outage.opened_ms)
        for region, opened_ms in sorted(opened.items()):
            # where all has been said, and the outage goes on nevertheless, what is said already is not said again
            self.next_ms[region] = max(self.next_ms.get(region, opened_ms - recent.before_ms), held_ms)
        self.until_ms = None if outage.state == "open" else outage.at_ms + recent.before_ms

    def pieces(self, now_ms: int, recent: Recent) -> Iterator[tuple[str, int, int]]:
        """Yield region, start and end of each piece that is over by `now_ms`, and count it as said."""
        length_ms = recent.bins * recent.bin_ms
        for region, first_ms in self.next_ms.items():
            while True:
                end_ms = first_ms + length_ms if self.until_ms is None else min(first_ms + length_ms, self.until_ms)
                if end_ms > now_ms or end_ms <= first_ms:
                    break
                yield region, first_ms, end_ms
                first_ms = self.next_ms[region] = end_ms

    def is_over(self, now_ms: int) -> bool:
        """Return whether everything has been said by `now_ms`."""
        return self.until_ms is not None and self.until_ms <= now_ms


class Archive:
    """The tapes of all services: of the last outage, which may go on, and of those that were over within the hour."""

    def __init__(self) -> None:
        self._tapes: dict[str, list[Tape]] = {}

    def tapes(self, service: str) -> list[Tape]:
        """Return the tapes of a service, the oldest first."""
        return self._tapes.get(service, [])

    def restore(self, service: str, tapes: list[Tape]) -> None:
        """Take over what `tapes` gave."""
        self._tapes[service] = tapes

    def forget(self, service: str) -> None:
        """Drop what is still to be said of a service."""
        self._tapes.pop(service, None)

    def follow(self, outage: Outage, table: KeyTable) -> None:
        """Take in a change of an outage, before the bin that it is of is recorded."""
        tapes = self._tapes.setdefault(outage.service, [])
        if not tapes or tapes[-1].outage != outage.id:
            tapes.append(Tape(outage.id))
        tapes[-1].follow(outage, table.recent, whole=(outage.service, WHOLE_SERVICE) in table.rows)

    def over(self, bin_ms: int, last_ms: int, table: KeyTable) -> Iterator[Stated]:
        """Yield what is over when a bin begins, and was not when the one before it did.

        Parameters
        ----------
        bin_ms, last_ms
            Start of the bin, and of the last judged one.
        table
            The keys, and what is held of them up to the last judged bin.
        """
        for service in sorted(service for service, tapes in self._tapes.items() if tapes):
            for tape in self._tapes[service]:
                for region, first_ms, end_ms in tape.pieces(bin_ms, table.recent):
                    piece = _piece(tape, service, region, (first_ms, end_ms, last_ms), table)
                    if piece is not None:
                        key = f"{tape.outage}/{region}/{first_ms}".encode()
                        yield Stated("series", service, key, encode(piece))
            *before, last = self._tapes[service]
            self._tapes[service] = [*(tape for tape in before if not tape.is_over(bin_ms)), last]
        quarter_ms = last_ms // QUARTER_MS * QUARTER_MS
        if quarter_ms != bin_ms // QUARTER_MS * QUARTER_MS:
            yield from _quarter(quarter_ms, last_ms, table)


def _piece(tape: Tape, service: str, region: str, stretch_ms: tuple[int, int, int], table: KeyTable) -> Series | None:
    """Return a piece of a series, None where nothing is known of any of its bins."""
    first_ms, end_ms, last_ms = stretch_ms
    row = table.rows.get((service, region))
    bins = None if row is None else table.recent.piece(row, first_ms, end_ms, last_ms)
    if bins is None:
        return None
    return Series(
        outage=tape.outage,
        service=service,
        region=region,
        start_ms=first_ms,
        bin_length_ms=table.recent.bin_ms,
        count=bins.count,
        window=bins.window,
        expected=bins.expected,
        state=bins.state,
        last=end_ms == tape.until_ms,
    )


def _quarter(quarter_ms: int, last_ms: int, table: KeyTable) -> Iterator[Stated]:
    """Yield the levels of a quarter, service by service."""
    quarter = table.recent.quarter(quarter_ms, last_ms)
    levels: dict[str, list[QuarterLevel]] = defaultdict(list)
    for (service, region), row in sorted(table.rows.items()):
        level = None if service == SENSOR else quarter.level(region, row)
        if level is not None:
            levels[service].append(level)
    for service, own in levels.items():
        value = encode(QuarterLevels(service=service, start_ms=quarter_ms, regions=own))
        yield Stated("levels.15m", service, f"{service}/{quarter_ms}".encode(), value)
