"""Given these records of the baselines topic, these snapshots; given what is acknowledged, this floor."""

import zlib

import msgspec
import pytest

from streams.events import SENSOR
from streams.incidents import Ongoing
from streams.outages import Ledger
from streams.sensor import Sensor
from streams.snapshots import MAX_BYTES, Packed, Snapshot, SnapshotBook, complete, pack, unpack

BIN_MS = 60_000
BORN_MS = 100 * BIN_MS


def snapshot(service: str = "x", number: int = 100, part: int = 0, parts: int = 1, detecting: str = "a") -> Snapshot:
    """Return a part of a snapshot as of bin `number`."""
    return Snapshot(
        detecting=detecting,
        settings=None,
        service=service,
        bin_ms=number * BIN_MS,
        part=part,
        parts=parts,
        regions=["US"],
        last_seen_ms=[number * BIN_MS],
        windows=bytes(8),
        incidents=[Ongoing(id="x.US.1", opened_ms=0, announced_peak=7, peak=9, peak_ms=60_000, kinds={"app": 3})],
        ledger=Ledger(),
        sensor=Sensor(whole_bins=15) if service == SENSOR else None,
        detector=b"limit version 1\n",
    )


def record(packed: Packed) -> tuple[bytes, bytes | None]:
    return packed.key, packed.value


def test_a_snapshot_is_a_record_under_service_bin_and_part_and_comes_back_as_it_was() -> None:
    packed = pack(snapshot(part=1, parts=2))
    assert packed.key == b"x/6000000/1"
    assert (packed.service, packed.bin_ms, packed.parts) == ("x", 6_000_000, 2)
    assert unpack(packed.key, packed.value) == snapshot(part=1, parts=2)
    assert pack(unpack(packed.key, packed.value)) == packed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "cannot be read"),
        (b"{}", "cannot be read"),
        (zlib.compress(b"{}"), "cannot be read"),
        (zlib.compress(msgspec.msgpack.encode({"version": 1})), "missing required field"),
        (pack(snapshot()).value[:-5], "cut short"),
        (zlib.compress(bytes(MAX_BYTES + 1)), "unpacks to more than 67108864 bytes"),
        (pack(msgspec.structs.replace(snapshot(), last_seen_ms=[])).value, "does not tell of each of its regions"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_names_it(value: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"baseline 'x/6000000/0' .*{message}"):
        complete([(b"x/6000000/0", value)])


def test_snapshots_are_found_by_service_and_bin_with_their_parts_in_order() -> None:
    parts = [snapshot(number=100, part=1, parts=2), snapshot("mail", 100), snapshot(number=100, part=0, parts=2)]
    later = snapshot(number=105)
    assert complete(record(pack(each)) for each in [later, *parts]) == {
        "x": {100 * BIN_MS: [parts[2], parts[0]], 105 * BIN_MS: [later]},
        "mail": {100 * BIN_MS: [parts[1]]},
    }


def test_what_is_not_complete_or_has_a_tombstone_is_not_there() -> None:
    records = [record(pack(snapshot(number=100, part=part, parts=3))) for part in (0, 2)]
    records += [record(pack(snapshot(number=105))), record(pack(snapshot("mail")))]
    records += [(b"x/6300000/0", None), (b"never/1/0", None)]
    assert complete(records) == {"mail": {100 * BIN_MS: [snapshot("mail")]}}


def test_a_part_that_is_written_again_counts_once_and_lives_again_after_its_tombstone() -> None:
    packed = record(pack(snapshot()))
    assert complete([packed, packed]) == {"x": {100 * BIN_MS: [snapshot()]}}
    assert complete([packed, (packed[0], None), packed]) == {"x": {100 * BIN_MS: [snapshot()]}}


def test_parts_left_from_other_settings_do_not_stand_in_the_way_nor_fill_a_hole() -> None:
    left = [snapshot(part=part, parts=3, detecting="old") for part in range(3)]
    fewer = snapshot(parts=1, detecting="new")
    assert complete(record(pack(each)) for each in [*left, fewer]) == {"x": {100 * BIN_MS: [fewer]}}
    begun = snapshot(part=0, parts=3, detecting="new")
    assert complete(record(pack(each)) for each in [*left, begun]) == {}


# The book: bins by their number


def book(**born: int) -> SnapshotBook:
    made = SnapshotBook(BIN_MS)
    for service, number in born.items():
        made.born(SENSOR if service == "sensor" else service, number * BIN_MS)
    return made


def acknowledge(made: SnapshotBook, service: str, *numbers: int, parts: int = 1) -> None:
    for number in numbers:
        made.acknowledged(service, number * BIN_MS, parts)


def floor(made: SnapshotBook, next_number: int) -> int:
    return made.floor_ms(next_number * BIN_MS) // BIN_MS


def obsolete(made: SnapshotBook, floor_number: int) -> list[str]:
    keys = [key.decode() for _, key in made.obsolete(floor_number * BIN_MS)]
    return [f"{service}/{int(bin_ms) // BIN_MS}/{part}" for service, bin_ms, part in (key.split("/") for key in keys)]


def test_without_services_the_floor_is_the_next_bin() -> None:
    assert floor(SnapshotBook(BIN_MS), 107) == 107


def test_the_floor_is_the_birth_of_a_service_until_its_first_snapshot_is_acknowledged() -> None:
    made = book(sensor=90, x=100, mail=103)
    acknowledge(made, SENSOR, 95)
    assert floor(made, 107) == 96, "the sensor's newest snapshot before 100 is the state that bin 96 begins with"
    acknowledge(made, SENSOR, 99, 102)
    assert floor(made, 107) == 100
    acknowledge(made, "x", 104)
    assert floor(made, 107) == 103


def test_the_floor_is_above_no_services_newest_snapshot() -> None:
    made = book(x=90, mail=90)
    acknowledge(made, SENSOR, *range(90, 110))
    acknowledge(made, "x", 98, 103)
    acknowledge(made, "mail", 96, 101)
    assert floor(made, 107) == 102
    acknowledge(made, "mail", 106)
    assert floor(made, 107) == 104


def test_the_floor_is_the_sensors_birth_while_no_snapshot_of_it_is_old_enough() -> None:
    made = book(sensor=97, x=99)
    acknowledge(made, "x", 100)
    assert floor(made, 107) == 97
    acknowledge(made, SENSOR, 103)
    assert floor(made, 107) == 97
    acknowledge(made, "x", 105)
    assert floor(made, 107) == 104


def test_the_floor_is_not_above_the_next_bin_while_a_restart_has_not_come_to_a_services_snapshot() -> None:
    left = [("x", 106), (SENSOR, 99), (SENSOR, 104)]
    made = SnapshotBook(BIN_MS, complete(record(pack(snapshot(service, number))) for service, number in left))
    assert floor(made, 102) == 100
    acknowledge(made, SENSOR, 101)
    assert floor(made, 102) == 102


def test_a_service_that_has_lost_its_state_does_not_hold_the_floor() -> None:
    made = book(sensor=90, x=90, mail=90)
    acknowledge(made, SENSOR, *range(90, 110))
    acknowledge(made, "x", 95)
    acknowledge(made, "mail", 105)
    made.gone("x", 100 * BIN_MS)
    assert floor(made, 107) == 106
    assert made.services == {SENSOR, "mail"}


def test_a_service_that_is_born_again_does_not_draw_the_floor_back_to_its_former_life() -> None:
    made = book(sensor=90, x=90)
    acknowledge(made, SENSOR, *range(90, 110))
    acknowledge(made, "x", 95)
    made.gone("x", 100 * BIN_MS)
    made.born("x", 104 * BIN_MS)
    assert floor(made, 107) == 104
    acknowledge(made, "x", 105)
    assert floor(made, 107) == 106
    assert obsolete(made, 103) == [*(f"*/{number}/0" for number in range(90, 102)), "x/95/0"]


def test_all_but_the_newest_snapshot_of_a_service_are_obsolete() -> None:
    made = book(x=90)
    acknowledge(made, "x", 95, 100, parts=2)
    acknowledge(made, "x", 105, parts=3)
    assert obsolete(made, 106) == ["x/95/0", "x/95/1", "x/100/0", "x/100/1"]
    assert obsolete(made, 106) == []


def test_of_the_sensor_the_newest_snapshot_before_the_floor_is_kept_too() -> None:
    made = book(sensor=90)
    acknowledge(made, SENSOR, 91, 96, 101, 106)
    assert obsolete(made, 91) == []
    assert obsolete(made, 102) == ["*/91/0", "*/96/0"]
    assert obsolete(made, 106) == []
    assert obsolete(made, 107) == ["*/101/0"]


def test_what_a_lost_service_leaves_is_obsolete_once_the_floor_has_passed_the_loss() -> None:
    made = book(x=90)
    acknowledge(made, "x", 95)
    made.gone("x", 100 * BIN_MS)
    assert obsolete(made, 100) == []
    assert obsolete(made, 101) == ["x/95/0"]
    assert obsolete(made, 200) == []


def test_a_restart_takes_over_what_is_in_the_log_and_gives_up_what_the_floor_has_left_behind() -> None:
    snapshots = complete(
        record(pack(snapshot(service, number)))
        for service, number in [("x", 94), ("x", 99), ("gone", 98), (SENSOR, 99)]
    )
    made = SnapshotBook(BIN_MS, snapshots, floor_ms=100 * BIN_MS)
    assert made.services == {"x", SENSOR}
    assert floor(made, 100) == 100
    assert obsolete(made, 100) == ["x/94/0", "gone/98/0"]
    assert SnapshotBook(BIN_MS, snapshots).services == {"x", "gone", SENSOR}
