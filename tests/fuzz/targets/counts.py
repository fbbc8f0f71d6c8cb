"""Records of the counts topic: frames, marks, gaps and changes of settings, read and merged."""

from __future__ import annotations

import msgspec

from streams.bins import BinMerger
from streams.events import SENSOR, Cell, Frame, Gap, Mark, SettingsChange, decode_counts, encode
from streams.inforce import InForce
from streams.settings import Count, Kafka, Settings, SettingsError
from streams.versions import VersionError
from tests.fuzz.target import SEPARATOR, parts, require

SETTINGS = Settings(kafka=Kafka(reports_partitions=2, counts_partitions=1), count=Count(window_bins=2, max_names=7))
COUNTING = SETTINGS.counting
BIN_MS = SETTINGS.count.bin_ms
START_MS = 1_748_088_000_000

FRAMES = [
    Frame(
        counting=COUNTING,
        source=source,
        cells=[
            Cell(SENSOR, SENSOR, "reports", START_MS, 3 + source),
            Cell("x", "US", "app", START_MS, 2),
            Cell("x", "GB", "other", START_MS + BIN_MS, 1),
        ],
    )
    for source in (0, 1)
]
MARKS = [Mark(counting=COUNTING, source=source, watermark_ms=START_MS + 3 * BIN_MS) for source in (0, 1)]
LATER = [Mark(counting=COUNTING, source=source, watermark_ms=START_MS + 9 * BIN_MS) for source in (0, 1)]
GAP = Gap(counting=COUNTING, source=1, since_ms=START_MS - BIN_MS, until_ms=START_MS + BIN_MS)
CHANGE = SettingsChange(
    counting=COUNTING,
    detecting=SETTINGS.detecting,
    settings={"detect": {"detector": "limit"}, "policy": [{"raise_above": 9}], "regions": {}},
)
#: What comes behind every input.
BEHIND = [encode(record) for record in [*FRAMES, *LATER]]


class Target:
    """Any bytes: a record of the topic or an error; any records in any order: bins in order, each once."""

    together = 1
    tokens = (
        SEPARATOR,
        *(COUNTING.encode(), b'"type":"mark"', b'"type":"frame"', b'"type":"gap"', b'"type":"settings"', b'"cells"'),
        *(b'"watermark_ms"', b'"source":1', b'"source":9', b'["x","US","app",1748088000000,5]', b"1748088060001"),
        *(b'"detecting":"0"', b'"settings":{"detect":{"detector":"ratio"}}', b'["*","*","ticks",1748088060000,1]'),
    )
    seeds = (
        *(encode(record) for record in [*FRAMES, *MARKS, GAP, CHANGE]),
        SEPARATOR.join(encode(record) for record in [*FRAMES, *MARKS]),
        SEPARATOR.join(encode(record) for record in [GAP, *MARKS, *FRAMES, CHANGE, *LATER]),
    )

    def judge(self, data: bytes) -> None:
        """Merge the records of `data` as the detect stage does, with good ones behind them."""
        merger = BinMerger(SETTINGS)
        in_force = None
        judged = []
        values = [*parts(data), *BEHIND]
        for offset, value in enumerate(values):
            try:
                record = decode_counts(value)
                assert decode_counts(encode(record)) == record, "not read back as it was written"
                merger.add(offset, record)
                if isinstance(record, SettingsChange):
                    in_force = in_force or InForce(SETTINGS, None, {})  # dear to make for those without a change
                    in_force.change(record, merger.next_ms)
            except (msgspec.DecodeError, ValueError, VersionError, SettingsError) as error:
                require("", error)
                continue
            for bin_ in merger.complete():
                judged.append(bin_.bin_ms)
                assert all(count > 0 for kinds in bin_.kinds.values() for count in kinds.values())
            if merger.next_ms is not None:
                rebuild = merger.rebuild(merger.next_ms)
                assert rebuild is None or rebuild.offset <= offset + 1
                merger.forget(merger.next_ms)
        assert judged == sorted(set(judged)), "a bin is judged twice, or before an earlier one"
