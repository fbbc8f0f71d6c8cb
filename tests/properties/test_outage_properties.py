"""What holds for the outages of a service, whatever incidents it has."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.events import Decision, Incident, IncidentState, Outage, Transition, encode, incident_id
from streams.outages import WHOLE_SERVICE, Ledger

MINUTE_MS = 60_000
START_MS = 1_748_088_000_000
REGIONS = ["DE", "GB", "US", WHOLE_SERVICE]
Bins = dict[int, list[Incident]]

gaps = st.integers(0, 12).map(lambda minutes: minutes * MINUTE_MS)


@st.composite
def incident(draw: st.DrawFn, region: str, opened: int, closed: int, end: IncidentState) -> list[Incident]:
    """Return the transitions of an incident that opens in bin `opened` and ends in bin `closed`."""
    kinds = draw(st.dictionaries(st.sampled_from(["app", "website"]), st.integers(1, 50)))
    peak = draw(st.integers(1, 40))
    grown = draw(st.lists(st.integers(opened + 1, closed - 1), unique=True, max_size=2)) if closed > opened + 1 else []
    ending: Transition = "cleared" if end == "cleared" else "unknown"
    moves: list[tuple[int, Transition]] = [
        (opened, "opened"),
        *((bin_, "grew") for bin_ in sorted(grown)),
        (closed, ending),
    ]
    documents = []
    for sequence, (bin_, transition) in enumerate(moves, start=1):
        at_ms = START_MS + (bin_ + 1) * MINUTE_MS
        ended = transition == ending
        peak += draw(st.integers(0, 20))
        documents.append(
            Incident(
                id=incident_id("x", region, START_MS + opened * MINUTE_MS),
                sequence=sequence,
                service="x",
                region=region,
                transition=transition,
                state=end if ended else "open",
                held=False,
                reason="given",
                at_ms=at_ms,
                opened_ms=START_MS + opened * MINUTE_MS,
                below_since_ms=at_ms - MINUTE_MS if ended and end == "cleared" else None,
                closed_ms=at_ms if ended else None,
                peak=peak,
                peak_ms=at_ms,
                total=sum(kinds.values()),
                kinds=kinds,
                decision=Decision(
                    rule="given",
                    detector="ratio",
                    bin_ms=at_ms - MINUTE_MS,
                    count=0,
                    window=0,
                    window_bins=15,
                    expected=None,
                    score=None,
                    score_threshold=None,
                    clear_level=None,
                    raise_above=None,
                    clear_below=None,
                ),
            )
        )
    return documents


@st.composite
def logs(draw: st.DrawFn) -> Bins:
    """Return all transitions of a service by the end of their bin; the incidents of one region do not overlap."""
    bins: Bins = {}
    for region in REGIONS:
        bin_ = 0
        for _ in range(draw(st.integers(0, 4))):
            opened = bin_ + draw(st.integers(0, 20))
            closed = opened + draw(st.integers(1, 15))
            end: IncidentState = "unknown" if draw(st.booleans()) else "cleared"
            for document in draw(incident(region, opened, closed, end)):
                bins.setdefault(document.at_ms, []).append(document)
            bin_ = closed + 1
    return dict(sorted(bins.items()))


def roll_up(bins: Bins, merge_gap_ms: int) -> list[Outage]:
    ledger = Ledger()
    outages = [ledger.apply(incidents, at_ms, merge_gap_ms) for at_ms, incidents in bins.items()]
    return [outage for outage in outages if outage is not None]


def last_documents(bins: Bins) -> list[Incident]:
    last = {document.id: document for incidents in bins.values() for document in incidents}
    return sorted(last.values(), key=lambda document: (document.opened_ms, document.region))


def partition(bins: Bins, merge_gap_ms: int) -> list[set[str]]:
    """Return the incidents of each outage, straight from the definition: intervals merged over the gap."""
    groups: list[set[str]] = []
    end_ms = 0
    for document in last_documents(bins):
        if not groups or document.opened_ms - end_ms > merge_gap_ms:
            groups.append(set())
        groups[-1].add(document.id)
        end_ms = max(end_ms, document.closed_ms or 0)
    return groups


def final_by_id(outages: Sequence[Outage]) -> Mapping[str, Outage]:
    return {outage.id: outage for outage in outages}


@given(logs(), gaps, st.randoms(use_true_random=False))
def test_the_order_of_transitions_within_a_bin_leaves_no_trace(bins: Bins, merge_gap_ms: int, random: Random) -> None:
    given_order, any_order = Ledger(), Ledger()
    for at_ms, incidents in bins.items():
        shuffled = list(incidents)
        random.shuffle(shuffled)
        one, other = given_order.apply(incidents, at_ms, merge_gap_ms), any_order.apply(shuffled, at_ms, merge_gap_ms)
        assert one is not None
        assert other is not None
        assert encode(one) == encode(other)
        assert msgspec.msgpack.encode(given_order) == msgspec.msgpack.encode(any_order)


@given(logs(), gaps)
def test_incidents_are_parted_into_outages_by_the_merge_gap_exactly(bins: Bins, merge_gap_ms: int) -> None:
    outages = final_by_id(roll_up(bins, merge_gap_ms))
    told = [{name for region in outage.regions for name in region.incidents} for outage in outages.values()]
    assert told == partition(bins, merge_gap_ms)


@given(logs(), gaps)
def test_every_bin_with_a_transition_gives_one_document_numbered_without_holes(bins: Bins, merge_gap_ms: int) -> None:
    outages = roll_up(bins, merge_gap_ms)
    assert [outage.at_ms for outage in outages] == list(bins)
    for before, after in pairwise(outages):
        assert after.sequence == (before.sequence + 1 if after.id == before.id else 1)


@given(logs(), gaps)
def test_an_outage_is_open_as_long_as_one_of_its_incidents(bins: Bins, merge_gap_ms: int) -> None:
    states: dict[str, IncidentState] = {}
    for outage in roll_up(bins, merge_gap_ms):
        states |= {document.id: document.state for document in bins[outage.at_ms]}
        members = [name for region in outage.regions for name in region.incidents]
        assert (outage.state == "open") == ("open" in {states[name] for name in members})
        ends = {states[region.incidents[-1]] for region in outage.regions}
        assert (outage.state == "cleared") == (ends == {"cleared"})
        assert (outage.restored_ms is None) == (outage.state != "cleared")


@given(logs(), gaps)
def test_figures_are_those_of_the_regions_and_leave_out_the_whole_service_where_it_is_not_alone(
    bins: Bins, merge_gap_ms: int
) -> None:
    final = {document.id: document for document in last_documents(bins)}
    for outage in final_by_id(roll_up(bins, merge_gap_ms)).values():
        counted = [region for region in outage.regions if region.region != WHOLE_SERVICE] or outage.regions
        assert [(-region.peak, region.region) for region in counted] == sorted(
            (-region.peak, region.region) for region in counted
        )
        assert outage.most_affected == [region.region for region in counted][:3]
        assert outage.number_of_reports == max(region.peak for region in counted)
        members = [final[name] for region in counted for name in region.incidents]
        assert outage.total == sum(document.total for document in members)
        for kind, share in outage.kinds.items():
            count = sum(document.kinds.get(kind, 0) for document in members)
            assert abs(share - count / outage.total) <= 0.0005 * share
        for region in outage.regions:
            own = [final[name] for name in region.incidents]
            assert (region.peak, region.total) == (max(it.peak for it in own), sum(it.total for it in own))


@given(logs(), gaps)
def test_a_cleared_outage_is_restored_at_the_latest_fall_of_its_regions_incidents(
    bins: Bins, merge_gap_ms: int
) -> None:
    final = {document.id: document for document in last_documents(bins)}
    for outage in final_by_id(roll_up(bins, merge_gap_ms)).values():
        if outage.restored_ms is not None:
            counted = [region for region in outage.regions if region.region != WHOLE_SERVICE] or outage.regions
            members = [final[name] for region in counted for name in region.incidents]
            assert outage.restored_ms == max(document.below_since_ms or 0 for document in members)
            assert outage.time_to_restore_ms == outage.restored_ms - min(document.opened_ms for document in members)


@given(logs(), gaps)
def test_a_snapshot_at_every_bin_continues_with_the_same_bytes(bins: Bins, merge_gap_ms: int) -> None:
    running, restored = Ledger(), Ledger()
    for at_ms, incidents in bins.items():
        restored = msgspec.msgpack.decode(msgspec.msgpack.encode(restored), type=Ledger)
        assert restored == running
        assert restored.apply(incidents, at_ms, merge_gap_ms) == running.apply(incidents, at_ms, merge_gap_ms)
