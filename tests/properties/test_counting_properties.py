"""Whatever the log, however it is cut into chunks, wherever counting begins again: the same counts."""

from collections import Counter
from itertools import pairwise

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.counting import Rebuild, begin_of_log
from streams.settings import Settings
from tests.support.countmodel import (
    Entry,
    Life,
    Plan,
    entries,
    live,
    plans,
    small_settings,
    stated,
    truth,
)

thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def logs(draw: st.DrawFn, *, backwards: bool = True) -> tuple[Settings, list[Entry]]:
    """Draw settings, and the log of one source partition."""
    deployment = small_settings(draw)
    return deployment, draw(entries(deployment, backwards=backwards))


def restored(rebuild: Rebuild) -> Rebuild:
    """Return a rebuild point as it comes back from Kafka."""
    return msgspec.json.decode(msgspec.json.encode(rebuild), type=Rebuild)


def keeps_its_promises(lives: list[Life], bin_ms: int) -> bool:
    """Whether no frame raises a cell of a bin that a mark before it has closed; lives follow each other."""
    cells: Counter[tuple[str, str, str, int]] = Counter()
    promised_ms: int | None = None
    for flush in (flush for life in lives for flush in life.flushes):
        for cell in flush.cells:
            key = cell.service, cell.region, cell.kind, cell.bin_ms
            if promised_ms is not None and cell.bin_ms + bin_ms <= promised_ms and cell.count > cells[key]:
                return False
            cells[key] = max(cell.count, cells[key])
        promised_ms = max(flush.mark.watermark_ms, promised_ms or flush.mark.watermark_ms)
    return True


@thorough
@given(logs(), plans)
def test_counting_a_chunk_at_a_time_is_counting_record_by_record(log: tuple[Settings, list[Entry]], plan: Plan) -> None:
    deployment, records = log
    expected = truth(deployment, records)
    life = live(deployment, records, begin_of_log(deployment), plan)
    assert stated(life.flushes) == expected.cells
    assert expected.append_ms is not None
    assert life.flushes[-1].mark.watermark_ms == expected.append_ms - deployment.count.lateness_ms
    assert life.dead == expected.dead
    tally = life.counter.tally
    assert (tally.read, tally.late, tally.duplicate) == (len(records), expected.late, expected.duplicate)
    assert tally.read == tally.ticks + tally.accepted + tally.late + tally.duplicate + len(expected.dead)
    assert keeps_its_promises([life], deployment.count.bin_ms)


@thorough
@given(logs(), plans)
def test_a_flush_states_what_the_log_has_come_to_so_far(log: tuple[Settings, list[Entry]], plan: Plan) -> None:
    deployment, records = log
    life = live(deployment, records, begin_of_log(deployment), plan)
    for end in range(1, len(life.flushes) + 1):
        latest = {
            (cell.service, cell.region, cell.kind, cell.bin_ms): cell.count
            for flush in life.flushes[:end]
            for cell in flush.cells
        }
        assert latest == stated(life.flushes[:end]), "a cell has fallen"
    for earlier, later in pairwise(life.flushes):
        assert earlier.mark.watermark_ms <= later.mark.watermark_ms
        assert earlier.rebuild.offset <= later.rebuild.offset
        assert earlier.rebuild.floor_ms <= later.rebuild.floor_ms
    for flush in life.flushes:  # the first epoch that may still hear of a report
        assert flush.rebuild.floor_ms <= flush.mark.watermark_ms < flush.rebuild.floor_ms + deployment.count.epoch_ms


@thorough
@given(logs(), plans, plans, st.data())
def test_counting_again_from_any_rebuild_point_states_the_same(
    log: tuple[Settings, list[Entry]], plan: Plan, other_plan: Plan, data: st.DataObject
) -> None:
    deployment, records = log
    expected = truth(deployment, records)
    first = live(deployment, records, begin_of_log(deployment), plan)
    for number, begin in enumerate(first.rebuilds, start=1):
        # the first life ended after this flush, or it went on for a while without committing
        died_after = data.draw(st.integers(number, len(first.flushes)))
        before = Life(first.counter, first.flushes[:died_after])
        second = live(deployment, records, restored(begin), other_plan)
        cells = stated([*before.flushes, *second.flushes])
        assert cells == expected.cells
        assert all(bin_ms >= begin.floor_ms for *_, bin_ms in stated(second.flushes))
        assert keeps_its_promises([before, second], deployment.count.bin_ms)
        assert second.flushes[-1].mark == first.flushes[-1].mark
        assert second.dead == [letter for letter in expected.dead if letter[0] >= begin.offset]


@thorough
@given(logs(), st.lists(plans, min_size=2, max_size=4), st.data())
def test_any_number_of_lives_state_the_same(
    log: tuple[Settings, list[Entry]], all_plans: list[Plan], data: st.DataObject
) -> None:
    # Each life begins where any earlier one has committed, and ends anywhere; only the last one reads all.
    deployment, records = log
    commits = [begin_of_log(deployment)]
    lives: list[Life] = []
    for plan in all_plans:
        life = live(deployment, records, restored(data.draw(st.sampled_from(commits))), plan)
        if plan is not all_plans[-1]:
            life.flushes = life.flushes[: data.draw(st.integers(0, len(life.flushes)))]
        commits += life.rebuilds
        lives.append(life)
    assert stated(flush for life in lives for flush in life.flushes) == truth(deployment, records).cells
    assert keeps_its_promises(lives, deployment.count.bin_ms)


@thorough
@given(logs(backwards=False), plans, st.data())
def test_after_a_gap_everything_behind_it_is_counted_and_nothing_in_it(
    log: tuple[Settings, list[Entry]], plan: Plan, data: st.DataObject
) -> None:
    deployment, records = log
    start = data.draw(st.integers(0, len(records) - 1))
    first = records[start]
    begin = msgspec.structs.replace(begin_of_log(deployment), offset=first.offset)
    life = live(deployment, records, begin, plan, gap_since_ms=begin.floor_ms)
    gaps = [flush.gap for flush in life.flushes if flush.gap is not None]
    assert gaps == [life.flushes[0].gap]
    (gap,) = gaps
    assert gap.since_ms == begin.floor_ms
    # the first epoch that starts after the last event time that a lost report may have had
    latest_lost_ms = first.timestamp_ms + deployment.count.bin_ms
    assert gap.until_ms % deployment.count.epoch_ms == 0
    assert latest_lost_ms < gap.until_ms <= latest_lost_ms + deployment.count.epoch_ms
    undisturbed = truth(deployment, records).cells
    assert stated(life.flushes) == {key: count for key, count in undisturbed.items() if key[-1] >= gap.until_ms}
    for restart in life.rebuilds:
        again = live(deployment, records, restored(restart), plan)
        assert stated([*life.flushes, *again.flushes]) == stated(life.flushes)
        assert not any(flush.gap for flush in again.flushes)
