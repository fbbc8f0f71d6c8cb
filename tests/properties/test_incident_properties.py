"""What holds for the incidents of one service and region, whatever it goes through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise, takewhile
from math import isnan
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.events import Incident, encode
from streams.incidents import TABLE, Machine, Observation, State
from streams.policy import Limits

MINUTE_MS = 60_000
START_MS = 1_748_088_000_000
WINDOW_BINS = 3

NAN = float("nan")
CLEAR_THRESHOLD = 5.0
#: Of a bin: whether its counts hold all reports, and what is known otherwise.
CONDITIONS: list[tuple[bool, dict[str, Any]]] = [
    *[(True, {"silent": False})] * 20,
    (False, {"silent": False}),
    (False, {"silent": True}),
    (False, {"silent": True, "lost": "sensor-lost"}),
    (False, {"silent": False, "lost": "gap"}),
    (True, {"silent": False, "rebaselined": True}),
]
limits = st.builds(
    lambda clear_below, above, **rest: Limits(
        clear_below=clear_below,
        raise_above=None if clear_below is None else -(-clear_below * 115 // 100) + above,
        **rest,
    ),
    clear_below=st.none() | st.integers(10, 60),
    above=st.integers(0, 10),
    enabled=st.sampled_from([True, True, True, False]),
    min_open_bins=st.integers(0, 6),
    clear_windows=st.integers(1, 3),
)
# Windows are drawn freely, not summed, which allows more than can occur; most are near the limits.
judged = st.tuples(
    st.integers(0, 30) | st.integers(0, 120),
    st.sampled_from([{}, {"app": 7}, {"website": 2, "app": 0}, {"website": 1, "server": 3, "app": 5}]),
    st.sampled_from([True, False, False]),
    st.sampled_from([NAN, 0.0, 2.5, 10.0]),
    st.sampled_from([NAN, 0.0, 4.2, 12.0]),
    st.sampled_from([0.0, 0.5, 3.0, CLEAR_THRESHOLD, 9.0]),
    st.sampled_from(CONDITIONS),
)


def consecutive(
    drawn: list[tuple[int, dict[str, int], bool, float, float, float, tuple[bool, dict[str, Any]]]],
    *,
    weighs: bool,
) -> list[Observation]:
    whole = [int(whole) for *_, (whole, _) in drawn]
    whole_bins = list(accumulate(whole, lambda in_a_row, whole: (in_a_row + 1) * whole))
    return [
        Observation(
            bin_ms=START_MS + index * MINUTE_MS,
            bin_end_ms=START_MS + (index + 1) * MINUTE_MS,
            count=sum(kinds.values()),
            window=window,
            kinds=kinds,
            raised=raised,
            expected=expected,
            score=7.5,
            score_threshold=5.0,
            clear_level=clear_level,
            clear_score=clear_score if weighs else NAN,
            clear_threshold=CLEAR_THRESHOLD if weighs else NAN,
            detector="ratio",
            whole_bins=whole_bins[index],
            **condition,
        )
        for index, (window, kinds, raised, expected, clear_level, clear_score, (_, condition)) in enumerate(drawn)
    ]


#: Of a detector that weighs evidence for the end, or of one that does not.
histories = st.builds(consecutive, st.lists(judged, min_size=8, max_size=30), weighs=st.booleans())


@dataclass
class Passage:
    """One bin, its transitions, and the bins since the opening one of the incident that was open in it."""

    bin: Observation
    documents: list[Incident]
    since_opening: list[Observation] = field(default_factory=list)


def pass_through(bins: Sequence[Observation], policy: Limits) -> list[Passage]:
    machine = Machine()
    passages: list[Passage] = []
    open_since: list[Observation] = []
    for seen in bins:
        documents = machine.step(seen, policy, "x", "US", WINDOW_BINS)
        if open_since or documents:
            open_since.append(seen)
        passages.append(Passage(seen, documents, list(open_since)))
        if machine.incident is None:
            open_since = []
    return passages


def documents_of(passages: Sequence[Passage]) -> list[Incident]:
    return [document for passage in passages for document in passage.documents]


def with_passages(passages: Sequence[Passage]) -> Iterator[tuple[Incident, list[Observation]]]:
    return ((document, passage.since_opening) for passage in passages for document in passage.documents)


def below(since_opening: Sequence[Observation], policy: Limits) -> bool:
    """Return whether the window of the last of these bins counts towards clearing, straight from the definition."""
    last = since_opening[-1]
    return (
        last.window < policy.clear_limit(last.expected, last.clear_level, WINDOW_BINS)
        and not policy.raises(last.raised, last.window)
        and last.whole_bins >= WINDOW_BINS
    )


def row(since_opening: Sequence[Observation], policy: Limits) -> list[Observation]:
    """Return the bins at the end whose windows, in a row, count towards clearing."""
    ends = range(len(since_opening), 0, -1)
    return [since_opening[end - 1] for end in takewhile(lambda end: below(since_opening[:end], policy), ends)]


def weighs(seen: Observation, policy: Limits) -> bool:
    return policy.clear_below is None and not isnan(seen.clear_score)


def ended(seen: Observation) -> str | None:
    """Return why a bin ends an incident as unknown, None where it does not."""
    return seen.lost or ("rebaselined" if seen.rebaselined else None)


def falls(since_opening: Sequence[Observation], policy: Limits) -> bool:
    last = since_opening[-1]
    if len(since_opening) < policy.min_open_bins or ended(last) is not None:
        return False
    if weighs(last, policy):
        return last.clear_score >= last.clear_threshold and last.whole_bins >= WINDOW_BINS
    return len(row(since_opening, policy)) >= policy.clear_windows


def row_start_ms(since_opening: Sequence[Observation], policy: Limits) -> int:
    if weighs(since_opening[-1], policy):
        return list(takewhile(lambda seen: seen.clear_score > 0, reversed(since_opening)))[-1].bin_end_ms
    return row(since_opening, policy)[-1].bin_end_ms


@given(histories, limits)
def test_each_incident_is_opened_once_numbered_without_holes_and_ended_before_the_next(
    bins: list[Observation], policy: Limits
) -> None:
    by_id = [list(group) for _, group in groupby(documents_of(pass_through(bins, policy)), key=lambda it: it.id)]
    assert len({group[0].id for group in by_id}) == len(by_id)
    for group in by_id:
        assert [document.sequence for document in group] == list(range(1, len(group) + 1))
        assert [document.transition == "opened" for document in group] == [True] + [False] * (len(group) - 1)
        assert all(document.state == "open" and document.closed_ms is None for document in group[:-1])
    for group, following in pairwise(by_id):
        assert group[-1].state in ("cleared", "unknown")
        assert (group[-1].closed_ms or 0) <= following[0].opened_ms


@given(histories, limits)
def test_every_transition_is_a_move_of_the_table(bins: list[Observation], policy: Limits) -> None:
    moves = {(before, after, transition) for (before, _), (after, transition) in TABLE.items()}
    state: State = "idle"
    for document in documents_of(pass_through(bins, policy)):
        assert (state, document.state, document.transition) in moves
        state = "open" if document.state == "open" else "idle"


@given(histories, limits)
def test_opens_exactly_when_an_idle_key_raises(bins: list[Observation], policy: Limits) -> None:
    was_open = False
    for passage in pass_through(bins, policy):
        raises = policy.raises(passage.bin.raised, passage.bin.window) and ended(passage.bin) is None
        opened = any(document.transition == "opened" for document in passage.documents)
        assert opened == (raises and not was_open)
        if passage.documents:
            was_open = passage.documents[-1].state == "open"


@given(histories, limits)
def test_clears_exactly_when_the_windows_in_a_row_are_complete_and_below_or_the_evidence_is_enough(
    bins: list[Observation], policy: Limits
) -> None:
    for passage in pass_through(bins, policy):
        cleared = [document for document in passage.documents if document.transition == "cleared"]
        assert bool(cleared) == (bool(passage.since_opening) and falls(passage.since_opening, policy))
        for document in cleared:
            assert not document.held
            assert document.at_ms - document.opened_ms >= policy.min_open_bins * MINUTE_MS
            assert document.below_since_ms == row_start_ms(passage.since_opening, policy)


@given(histories, limits)
def test_becomes_unknown_exactly_when_an_open_incident_is_lost_or_its_level_has_become_the_usual_one(
    bins: list[Observation], policy: Limits
) -> None:
    for passage in pass_through(bins, policy):
        unknown = [document.decision.rule for document in passage.documents if document.state == "unknown"]
        why = ended(passage.bin) if passage.since_opening else None
        assert unknown == ([] if why is None else [why])


@given(histories, limits)
def test_held_says_that_the_window_holds_a_bin_that_is_not_whole(bins: list[Observation], policy: Limits) -> None:
    held = False
    for passage in pass_through(bins, policy):
        for document in passage.documents:
            held = document.held
        if not passage.since_opening or ended(passage.bin) is not None:
            held = False
            continue
        assert held == (passage.bin.whole_bins < WINDOW_BINS)


@given(histories, limits)
def test_peak_total_and_kinds_are_those_of_the_bins_since_the_opening_one(
    bins: list[Observation], policy: Limits
) -> None:
    for document, since_opening in with_passages(pass_through(bins, policy)):
        highest = max(since_opening, key=lambda seen: seen.window)
        assert (document.peak, document.peak_ms) == (highest.window, highest.bin_end_ms)
        assert document.total == sum(seen.count for seen in since_opening) == sum(document.kinds.values())
        assert document.opened_ms == since_opening[0].bin_ms
        for kind, count in document.kinds.items():
            assert count == sum(seen.kinds.get(kind, 0) for seen in since_opening) > 0


@given(histories, limits)
def test_every_doubling_of_the_announced_peak_is_announced(bins: list[Observation], policy: Limits) -> None:
    announced = 0
    for passage in pass_through(bins, policy):
        if any(document.transition == "opened" for document in passage.documents):
            announced = passage.bin.window
        grew = any(document.transition == "grew" for document in passage.documents)
        doubled = bool(passage.since_opening) and ended(passage.bin) is None and passage.bin.window >= 2 * announced
        assert grew == doubled
        if grew:
            announced = passage.bin.window


@given(histories, limits, st.integers(0, 40))
def test_a_snapshot_at_any_bin_continues_with_the_same_bytes(bins: list[Observation], policy: Limits, at: int) -> None:
    running, restored = Machine(), Machine()
    for index, seen in enumerate(bins):
        if index == at:
            restored = msgspec.msgpack.decode(msgspec.msgpack.encode(restored), type=Machine)
        published = [encode(document) for document in running.step(seen, policy, "x", "US", WINDOW_BINS)]
        assert [encode(document) for document in restored.step(seen, policy, "x", "US", WINDOW_BINS)] == published
        assert msgspec.msgpack.encode(restored) == msgspec.msgpack.encode(running)


@given(histories, limits)
def test_the_order_in_which_kinds_are_given_leaves_no_trace(bins: list[Observation], policy: Limits) -> None:
    forwards, backwards = Machine(), Machine()
    for seen in bins:
        turned = msgspec.structs.replace(seen, kinds=dict(reversed(list(seen.kinds.items()))))
        published = [encode(document) for document in forwards.step(seen, policy, "x", "US", WINDOW_BINS)]
        assert [encode(document) for document in backwards.step(turned, policy, "x", "US", WINDOW_BINS)] == published
        assert msgspec.msgpack.encode(forwards) == msgspec.msgpack.encode(backwards)
