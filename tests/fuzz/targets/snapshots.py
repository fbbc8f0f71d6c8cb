"""Records of the baselines topic: compressed snapshots, unpacked, put together and gone on from."""

from __future__ import annotations

import zlib

from streams.bins import Bin
from streams.detection import Detection
from streams.events import SENSOR
from streams.settings import Count, Detect, Settings
from streams.settings_sources import SettingsError
from streams.snapshots import complete, unpack
from tests.fuzz.target import require

SETTINGS = Settings(count=Count(window_bins=3), detect=Detect(snapshot_every_bins=1))
BIN_MS = SETTINGS.count.bin_ms
START_MS = 1_748_088_000_000
#: What the first byte of an input says of the others: a record as it is, or what is compressed in one.
AS_IT_IS, COMPRESSED = b"\0", b"\1"


def _bin(number: int) -> Bin:
    kinds = {("x", "US"): {"app": 3}, ("x", "GB"): {"other": 1}, ("mail", "US"): {"app": 7}}
    return Bin(START_MS + number * BIN_MS, kinds, arrived=11, covered=1, sources=1)


class Target:
    """Any bytes: an error that names the record's key, or a snapshot that detection goes on from or refuses."""

    together = 1
    tokens = (
        *(AS_IT_IS, COMPRESSED, b"\xc0", b"\xc2", b"\x80", b"\x90", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
        *(b"\xa7version\x01", b"\xa7version\x02", b"\xa4part\x01", b"\xa5parts\x02", b"\xcb\x7f\xf8" + bytes(6)),
        *(b"\xa1x", b"\xa2US", b"\xa1*", b"\xcf" + b"\xff" * 8, b"\xd3" + b"\x80" + bytes(7)),
    )

    def __init__(self) -> None:
        detection = Detection(SETTINGS, {})
        self._packed = [packed for number in range(3) for packed in detection.judge(_bin(number)).snapshots]
        values = [packed.value for packed in self._packed]
        self.seeds = [AS_IT_IS + value for value in values[:2]]
        self.seeds += [COMPRESSED + zlib.decompress(value) for value in values]
        self._sensor = next(packed for packed in self._packed if packed.service == SENSOR)

    def judge(self, data: bytes) -> None:
        """Unpack `data`, and go on from it where that can be done."""
        value = zlib.compress(data[1:], 1) if data[:1] == COMPRESSED else data[1:]
        key = b"x/1748088000000/0"
        try:
            snapshot = unpack(key, value)
        except (ValueError, SettingsError) as error:
            require("'x/1748088000000/0'", error)
            return
        assert len(snapshot.last_seen_ms) == len(snapshot.incidents) == len(snapshot.regions)
        found = complete([(key, value), (self._sensor.key, self._sensor.value)])
        try:
            Detection(SETTINGS, found).judge(_bin(5))
        except (SettingsError, ValueError, OverflowError) as error:
            # a forged state that looks like one: there is no more to ask for than an error
            require("", error)
