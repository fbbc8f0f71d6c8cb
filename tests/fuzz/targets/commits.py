"""The strings that Kafka keeps beside committed offsets."""

from __future__ import annotations

import msgspec

from streams.bins import BinRebuild
from streams.counting import Rebuild
from streams.stages.detect import Floor
from streams.stages.notify import Delivered
from streams.versions import VersionError, read_commit
from tests.fuzz.target import require

REBUILD = Rebuild(offset=17, counting="c0ffee", floor_ms=1_748_088_000_000, append_ms=1_748_088_000_001)
FLOOR = Floor(
    floor_ms=1_748_088_000_000,
    detecting="decade",
    bins=BinRebuild(offset=3, counting="c0ffee", next_ms=1_748_088_060_000, dark_bins=0, blind_until_ms=None),
)
DELIVERED = Delivered(processed=12)
KINDS = (Rebuild, Floor, Delivered)


class Target:
    """Any text: the record that it holds, None, or a version that is not known."""

    together = 1
    tokens = (
        b'"offset":',
        b'"counting":',
        b'"floor_ms":',
        b'"bins":{',
        b'"dark_bins":',
        b'"processed":',
        b'"version":1',
    )
    seeds = tuple(msgspec.json.encode(record) for record in (REBUILD, FLOOR, DELIVERED))

    def judge(self, data: bytes) -> None:
        """Read `data` as each of the three."""
        for text in {data.decode(errors="replace"), data.decode(errors="surrogateescape")}:
            for kind in KINDS:
                try:
                    found = read_commit(text, kind)
                except VersionError as error:
                    require("version", error)
                    continue
                assert found is None or read_commit(msgspec.json.encode(found).decode(), kind) == found
