"""Snapshots of detector state, and the book that says how far back a restart has to go.

A snapshot is everything that detection knows of one service as of one bin: a function of the log, so whoever writes
it writes the same bytes. It is written under the key `service/bin/part`, with up to 200 regions in a part.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from streams.events import SENSOR, VERSION
from streams.incidents import Ongoing
from streams.outages import Ledger
from streams.sensor import Sensor

REGIONS_PER_PART = 200


class DetectionChangedError(Exception):
    """A snapshot was written under other detection settings than this worker's."""


class Snapshot(msgspec.Struct, kw_only=True):
    """State of up to 200 regions of one service after the bin that starts at `bin_ms` was judged.

    `windows` holds the counts of the last window's bins, one row of little-endian int64 per region, each bin in the
    column of its number modulo the window; `detector` is the detector's own snapshot of these keys. The ledger of
    outages is in part 0, the sensor in the snapshots of the service `*`.
    """

    version: int = VERSION
    detecting: str
    service: str
    bin_ms: int
    part: int
    parts: int
    regions: list[str]
    last_seen_ms: list[int]
    windows: bytes
    incidents: list[Ongoing | None]
    ledger: Ledger | None
    sensor: Sensor | None
    detector: bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """One part of a snapshot as a record of the baselines topic."""

    service: str
    bin_ms: int
    parts: int
    key: bytes
    value: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def pack(snapshot: Snapshot) -> Packed:
    """Return a snapshot as a record; the same snapshot always gives the same bytes."""
    return Packed(
        service=snapshot.service,
        bin_ms=snapshot.bin_ms,
        parts=snapshot.parts,
        key=_key(snapshot.service, snapshot.bin_ms, snapshot.part),
        value=zlib.compress(_encoder.encode(snapshot), level=1),
    )


def unpack(key: bytes, value: bytes) -> Snapshot:
    """Return the snapshot that a record of the baselines topic holds.

    Raises
    ------
    ValueError
        If the record is not a snapshot that this version can read; the message names its key.
    """
    try:
        return _decoder.decode(zlib.decompress(value))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"baseline {key.decode(errors='replace')!r} cannot be read: {error}") from error


def complete(records: Iterable[tuple[bytes, bytes | None]]) -> dict[str, dict[int, list[Snapshot]]]:
    """Return the snapshots of which all parts are there: by service, then bin, parts in order.

    Parameters
    ----------
    records
        Key and value of every record of one baselines partition, in log order; None is a tombstone.
    """
    latest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    found: dict[str, dict[int, list[Snapshot]]] = defaultdict(lambda: defaultdict(list))
    for key, value in latest.items():
        snapshot = unpack(key, value)
        found[snapshot.service][snapshot.bin_ms].append(snapshot)
    return {
        service: {
            bin_ms: sorted(parts, key=lambda part: part.part)
            for bin_ms, parts in sorted(by_bin.items())
            if len(parts) == parts[0].parts
        }
        for service, by_bin in found.items()
    }


class SnapshotBook:
    """Which snapshots of each service are acknowledged, and the first bin that a restart must judge again.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    """

    def __init__(self, bin_ms: int) -> None:
        self._bin_ms = bin_ms
        self._born: dict[str, int] = {}
        self._acknowledged: dict[str, dict[int, int]] = defaultdict(dict)
        self._gone: dict[str, int] = {}

    def born(self, service: str, bin_ms: int) -> None:
        """Note that a service has state from this bin on; before it, there is nothing to restore."""
        self._born[service] = bin_ms
        self._gone.pop(service, None)

    def gone(self, service: str, bin_ms: int) -> None:
        """Note that a service has lost its last key in this bin."""
        self._born.pop(service, None)
        self._gone[service] = bin_ms

    def acknowledged(self, service: str, bin_ms: int, parts: int) -> None:
        """Note that all parts of a snapshot are in the log."""
        self._acknowledged[service][bin_ms] = parts

    def floor_ms(self, next_ms: int) -> int:
        """Return the first bin that a restart must judge, given the next one that has not been judged."""
        floor_ms = next_ms
        for service in self._born.keys() | (self._acknowledged.keys() - self._gone.keys()):
            if service != SENSOR:
                newest = max(self._acknowledged[service], default=None)
                needed_ms = self._born[service] if newest is None else newest + self._bin_ms
                floor_ms = min(floor_ms, needed_ms)
        # the sensor is stepped in every bin, so its state must be the one just before the first of them
        older = [bin_ms for bin_ms in self._acknowledged[SENSOR] if bin_ms < floor_ms]
        if older:
            return min(floor_ms, max(older) + self._bin_ms)
        return min(floor_ms, self._born.get(SENSOR, floor_ms))

    def obsolete(self, floor_ms: int) -> Iterator[tuple[str, bytes]]:
        """Remove and yield service and key of every snapshot that no restart from `floor_ms` on can use."""
        for service, by_bin in self._acknowledged.items():
            usable = [bin_ms for bin_ms in by_bin if service != SENSOR or bin_ms < floor_ms]
            newest = max(usable, default=None)
            gone_ms = self._gone.get(service)
            for bin_ms in list(by_bin):
                dead = gone_ms is not None and bin_ms <= gone_ms < floor_ms
                if dead or (newest is not None and bin_ms < newest):
                    for part in range(by_bin.pop(bin_ms)):
                        yield service, _key(service, bin_ms, part)


def _key(service: str, bin_ms: int, part: int) -> bytes:
    return f"{service}/{bin_ms}/{part}".encode()
