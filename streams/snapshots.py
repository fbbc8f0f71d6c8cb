"""Snapshots of detector state, and the book that says how far back a restart has to go.

A snapshot is everything that detection knows of one service as of one bin: a function of the log, so whoever writes
it writes the same bytes. It is written under the key `service/bin/part`, with up to 200 regions in a part.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from streams.archive import Tape
from streams.budget import Budget
from streams.events import SENSOR
from streams.fields import Fingerprint, Version, said, time_ms
from streams.incidents import Ongoing
from streams.outages import Ledger
from streams.sensor import Sensor
from streams.settings import SettingsError
from streams.versions import MESSAGEPACK_STAMP, VersionError, known_version, read

REGIONS_PER_PART = 200
#: The most that a snapshot may be unpacked to. A real one is a tenth of that at most; what Kafka takes as a record can
#: be compressed a thousandfold.
MAX_BYTES = 64 << 20


class DetectionChangedError(SettingsError):
    """A snapshot was written under other detection settings than this worker's."""


class Snapshot(msgspec.Struct, kw_only=True):
    """State of up to 200 regions of one service after the bin that starts at `bin_ms` was judged."""

    version: Version = 1
    detecting: Fingerprint
    settings: Annotated[
        dict[str, Any] | None,
        said("The tables of settings that `detecting` is the fingerprint of, in the snapshots of the service `*`."),
    ]
    service: Annotated[str, said("The service, or `*`: all reports, by append time.")]
    bin_ms: Annotated[int, time_ms("Start of the bin")]
    part: Annotated[int, said("Number of this part, from 0 on.", minimum=0)]
    parts: Annotated[int, said("How many parts the snapshot has.", minimum=1)]
    regions: Annotated[list[str], said("The regions of this part.", maxItems=REGIONS_PER_PART)]
    last_seen_ms: Annotated[list[int], said("Per region, start of the last bin with a report, in milliseconds.")]
    windows: Annotated[
        bytes,
        said(
            "Reports of the last window's bins: a row of little-endian int64 per region, each bin in the column of its "
            "number modulo the window."
        ),
    ]
    incidents: Annotated[list[Ongoing | None], said("Per region, its open incident.")]
    ledger: Annotated[Ledger | None, said("The outages of the service; in part 0.")]
    budget: Annotated[Budget | None, said("The raises of the service; in part 0.")] = None
    sensor: Annotated[Sensor | None, said("The sensor; in the snapshots of the service `*`.")]
    detector: Annotated[bytes, said("The detector's own snapshot of these regions.")]
    tapes: Annotated[list[Tape], said("What is still to be said of the series of its outages; in part 0.")] = []
    recent: Annotated[
        bytes,
        said(
            "The bins of the last hour and one more, each in the column of its number modulo their number, a row per "
            "region: reports and windows (int64), expected (float32), states (int8; -1: not judged); of each of the "
            "four first all lowest bytes, and so on."
        ),
    ] = b""


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
    VersionError
        If it is of a version that this Tocsin does not know; the message names its key.
    ValueError
        If the record is no snapshot; the message names its key.
    """
    name = repr(key.decode(errors="replace"))
    try:
        snapshot = read(_decompressed(value), _decoder, MESSAGEPACK_STAMP, known_version(Snapshot), "baseline")
    except VersionError as error:
        raise error.at(name) from None
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"baseline {name} cannot be read: {error}") from error
    if not len(snapshot.regions) == len(snapshot.last_seen_ms) == len(snapshot.incidents):
        raise ValueError(f"baseline {name} cannot be read: it does not tell of each of its regions")
    return snapshot


def _decompressed(value: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    data = decompressor.decompress(value, MAX_BYTES)
    if not decompressor.eof:
        raise zlib.error("cut short" if len(data) < MAX_BYTES else f"it unpacks to more than {MAX_BYTES} bytes")
    return data


def complete(records: Iterable[tuple[bytes, bytes | None]]) -> dict[str, dict[int, list[Snapshot]]]:
    """Return the snapshots of which all parts are there: by service, then bin, parts in order.

    Parts belong together if they were written under the same settings, in as many parts: others are left from a
    worker that had other settings.

    Parameters
    ----------
    records
        Key and value of every record of one baselines partition, in log order; None is a tombstone.

    Raises
    ------
    VersionError
        If a snapshot is of a version that this Tocsin does not know; the message names its key.
    ValueError
        If a record is no snapshot; the message names its key.
    """
    latest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    together: dict[tuple[str, int, str, int], list[Snapshot]] = defaultdict(list)
    for key, value in latest.items():
        snapshot = unpack(key, value)
        together[snapshot.service, snapshot.bin_ms, snapshot.detecting, snapshot.parts].append(snapshot)
    found: dict[str, dict[int, list[Snapshot]]] = defaultdict(dict)
    for (service, bin_ms, _, count), parts in together.items():
        if len(parts) == count:
            found[service][bin_ms] = sorted(parts, key=lambda part: part.part)
    return dict(found)


class SnapshotBook:
    """Which snapshots of each service are acknowledged, and the first bin that a restart must judge again.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    snapshots
        The complete snapshots that the log holds to begin with, by service and bin.
    floor_ms
        The first bin that will be judged, if an earlier life has committed one.
    """

    def __init__(
        self, bin_ms: int, snapshots: Mapping[str, Mapping[int, list[Snapshot]]] = {}, floor_ms: int | None = None
    ) -> None:
        self._bin_ms = bin_ms
        #: The first bin that each service with state needs.
        self._needed_ms: dict[str, int] = {}
        #: Number of parts by service and bin.
        self._acknowledged: dict[str, dict[int, int]] = defaultdict(dict)
        #: What services that have lost their state leave behind, each with the bin of the loss.
        self._left: list[tuple[int, str, dict[int, int]]] = []
        for service, by_bin in snapshots.items():
            for snapshot_ms, parts in by_bin.items():
                self.acknowledged(service, snapshot_ms, len(parts))
            # A floor is above no living service's newest snapshot.
            if floor_ms is not None and max(by_bin) + bin_ms < floor_ms:
                self.gone(service, max(by_bin))

    @property
    def services(self) -> Set[str]:
        """The services that have state, the sensor among them."""
        return self._needed_ms.keys()

    def born(self, service: str, bin_ms: int) -> None:
        """Note that a service has state from this bin on; before it, there is nothing to restore."""
        self._needed_ms[service] = bin_ms

    def gone(self, service: str, bin_ms: int) -> None:
        """Note that a service has lost its last key in this bin."""
        del self._needed_ms[service]
        self._left.append((bin_ms, service, self._acknowledged.pop(service, {})))

    def acknowledged(self, service: str, bin_ms: int, parts: int) -> None:
        """Note that all parts of a snapshot are in the log."""
        self._acknowledged[service][bin_ms] = parts
        after_ms = bin_ms + self._bin_ms
        if service == SENSOR:
            self._needed_ms.setdefault(SENSOR, after_ms)  # which snapshot counts depends on the floor: see there
        else:
            self._needed_ms[service] = max(after_ms, self._needed_ms.get(service, after_ms))

    def floor_ms(self, next_ms: int) -> int:
        """Return the first bin that a restart must judge, given the next one that has not been judged."""
        needed_ms = [needed_ms for service, needed_ms in self._needed_ms.items() if service != SENSOR]
        floor_ms = min(next_ms, *needed_ms) if needed_ms else next_ms
        # The sensor is stepped in every bin, so its state must be the one just before the first of them.
        older = [bin_ms + self._bin_ms for bin_ms in self._acknowledged[SENSOR] if bin_ms < floor_ms]
        return max(older) if older else min(floor_ms, self._needed_ms.get(SENSOR, floor_ms))

    def obsolete(self, floor_ms: int) -> Iterator[tuple[str, bytes]]:
        """Remove and yield service and key of every snapshot that no restart from `floor_ms` on can use."""
        for service, by_bin in self._acknowledged.items():
            usable = [bin_ms for bin_ms in by_bin if service != SENSOR or bin_ms < floor_ms]
            for bin_ms in [bin_ms for bin_ms in by_bin if bin_ms < max(usable, default=bin_ms)]:
                yield from _keys(service, bin_ms, by_bin.pop(bin_ms))
        for _, service, by_bin in (left for left in self._left if left[0] < floor_ms):
            for bin_ms, parts in by_bin.items():
                yield from _keys(service, bin_ms, parts)
        self._left = [left for left in self._left if left[0] >= floor_ms]


def _keys(service: str, bin_ms: int, parts: int) -> Iterator[tuple[str, bytes]]:
    return ((service, _key(service, bin_ms, part)) for part in range(parts))


def _key(service: str, bin_ms: int, part: int) -> bytes:
    return f"{service}/{bin_ms}/{part}".encode()
