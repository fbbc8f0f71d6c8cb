"""A record of another version is refused by name, whatever its shape; what is no record of ours is no version."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

from streams.bins import BinRebuild
from streams.counting import Rebuild
from streams.events import Alert, Incident, Levels, Outage, decode, decode_counts, encode
from streams.orphans import Orphans
from streams.replay import Replay
from streams.settings import Detect, Kafka, Limit, Settings, SettingsError
from streams.snapshots import Snapshot, complete, pack, unpack
from streams.stages.detect import Floor
from streams.stages.notify import Delivered
from streams.versions import VersionError, known_version, read_commit
from tests.support.reports import record, report
from tests.support.statedrecords import Stated, stated

START_MS = 1_748_088_000_000
SETTINGS = Settings(
    kafka=Kafka(reports_partitions=1, counts_partitions=1), detect=Detect(detector="limit", limit=Limit(above=30))
)
LOG = [record(START_MS + 1000 * second, report(reporter=str(second))) for second in range(1200)]
DOCUMENTS: dict[str, type[Any]] = {"incidents": Incident, "outages": Outage, "levels": Levels, "alerts": Alert}
COMMITS = [
    Rebuild(offset=7, counting="0" * 16, floor_ms=START_MS, append_ms=START_MS),
    Floor(START_MS, "0" * 16, BinRebuild(7, "0" * 16, START_MS, 0, None)),
    Delivered(7),
]


@pytest.fixture(scope="module")
def records() -> dict[str, list[Stated]]:
    return stated(SETTINGS, LOG, {})


def newer(value: bytes, **changes: object) -> bytes:
    """Return the record of the version after the present one."""
    return msgspec.json.encode(msgspec.json.decode(value) | {"version": 2} | changes)


@pytest.mark.parametrize("topic", DOCUMENTS)
def test_a_document_of_a_newer_version_is_refused_with_both_versions_and_what_to_do(
    topic: str, records: dict[str, list[Stated]]
) -> None:
    kind = DOCUMENTS[topic]
    value = records[topic][0].value
    assert encode(decode(value, kind)) == value
    with pytest.raises(
        VersionError, match=f"^{kind.__name__.lower()} version 2, but this Tocsin knows version 1: run "
    ):
        decode(newer(value), kind)


@pytest.mark.parametrize("kind", ["frame", "mark", "gap", "settings"])
def test_a_counts_record_of_a_newer_version_is_refused(kind: str, records: dict[str, list[Stated]]) -> None:
    value = next(each.value for each in records["counts"] if msgspec.json.decode(each.value)["type"] == kind)
    assert encode(decode_counts(value)) == value
    with pytest.raises(VersionError, match=r"^counts version 2, but this Tocsin knows version 1"):
        decode_counts(newer(value))


def test_a_snapshot_of_a_newer_version_is_refused_by_its_key() -> None:
    snapshot = next(each for judgement in Replay(SETTINGS).run(LOG) for each in judgement.snapshots)
    changed = msgspec.structs.replace(unpack(snapshot.key, snapshot.value), version=2)
    with pytest.raises(VersionError, match=r"^'\*/[0-9]+/0': baseline version 2, but this Tocsin knows version 1"):
        complete([(snapshot.key, pack(changed).value)])


@pytest.mark.parametrize("commit", COMMITS, ids=lambda commit: type(commit).__name__)
def test_a_commit_of_a_newer_version_is_refused(commit: Any) -> None:
    text = msgspec.json.encode(commit).decode()
    assert read_commit(text, type(commit)) == commit
    with pytest.raises(VersionError, match=r"^commit version 2, but this Tocsin knows version 1"):
        read_commit(newer(text.encode()).decode(), type(commit))


@pytest.mark.parametrize("commit", COMMITS, ids=lambda commit: type(commit).__name__)
@pytest.mark.parametrize(
    "text", ["", "AgAAAZcA", "null", "{}", "[1]", '{"version":null}', '{"offset":7}', "[" * 4000, "\ud800"]
)
def test_what_others_write_beside_an_offset_is_no_commit_of_ours(text: str, commit: Any) -> None:
    assert read_commit(text, type(commit)) is None


def test_a_newer_version_is_named_even_where_its_shape_is_another(records: dict[str, list[Stated]]) -> None:
    with pytest.raises(VersionError, match=r"^incident version 2"):
        decode(newer(records["incidents"][0].value, state="muted", peak="25,800"), Incident)
    with pytest.raises(VersionError, match=r"^counts version 3"):
        decode_counts(b'{"type":"sketch","version":3}')
    with pytest.raises(VersionError, match=r"^commit version 2"):
        read_commit('{"version":2,"cells":[]}', Rebuild)
    with pytest.raises(VersionError, match=r"^'x/0/0': baseline version 9"):
        unpack(b"x/0/0", zlib.compress(msgspec.msgpack.encode({"version": 9})))


def test_a_field_that_this_version_does_not_know_is_passed_over(records: dict[str, list[Stated]]) -> None:
    value = records["incidents"][0].value
    more = msgspec.json.encode(msgspec.json.decode(value) | {"severity": "major"})
    assert decode(more, Incident) == decode(value, Incident)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"version":"2"}', b'{"version":1}', b"\xff", b"[" * 100_000])
def test_what_is_no_record_at_all_is_not_called_one_of_another_version(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data, Incident)
    with pytest.raises(msgspec.DecodeError):
        decode_counts(data)


def test_own_incidents_and_outages_of_a_newer_version_are_refused_by_their_key(
    records: dict[str, list[Stated]],
) -> None:
    incidents: list[tuple[bytes, bytes | None]] = [(each.key, each.value) for each in records["incidents"]]
    outages: list[tuple[bytes, bytes | None]] = [(each.key, each.value) for each in records["outages"]]
    Orphans(incidents, outages)
    with pytest.raises(VersionError, match=r"^x\.US\.20250524T1202Z/1: incident version 2"):
        Orphans([(incidents[0][0], newer(incidents[0][1] or b""))], outages)
    with pytest.raises(VersionError, match=r"^x\.20250524T1202Z/1: outage version 2"):
        Orphans([], [(outages[0][0], newer(outages[0][1] or b""))])


def test_every_kind_of_record_is_of_version_1_and_a_wrong_one_counts_as_wrong_settings() -> None:
    kinds = [Snapshot, *DOCUMENTS.values(), *map(type, COMMITS)]
    assert {known_version(kind) for kind in kinds} == {1}
    assert issubclass(VersionError, SettingsError)
