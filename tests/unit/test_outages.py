"""Given these incidents of one service, these outages."""

from datetime import datetime
from typing import get_args

import msgspec
import pytest

from streams import events
from streams.outages import Ledger, superseded

MINUTE_MS = 60_000
GAP_MS = 60 * MINUTE_MS
DAY = "2025-05-24T"


def ms(clock: str) -> int:
    return int(datetime.fromisoformat(f"{DAY}{clock}Z").timestamp()) * 1000


def document(
    region: str,
    transition: events.Transition,
    at: str,
    opened: str,
    *,
    peak: int = 1000,
    peak_at: str | None = None,
    total: int = 100,
    kinds: dict[str, int] | None = None,
    below: str | None = None,
) -> events.Incident:
    """Return a transition; a cleared one was below its limit one minute earlier unless told otherwise."""
    state: events.IncidentState = transition if transition in ("cleared", "unknown") else "open"
    if transition == "cleared" and below is None:
        below_since_ms: int | None = ms(at) - MINUTE_MS
    else:
        below_since_ms = None if below is None else ms(below)
    return events.Incident(
        id=events.incident_id("x", region, ms(opened)),
        sequence=1 + get_args(events.Transition).index(transition),
        service="x",
        region=region,
        transition=transition,
        state=state,
        held=False,
        reason="given",
        at_ms=ms(at),
        opened_ms=ms(opened),
        below_since_ms=below_since_ms,
        closed_ms=None if state == "open" else ms(at),
        peak=peak,
        peak_ms=ms(peak_at or at),
        total=total,
        kinds={"app": total} if kinds is None else kinds,
        decision=events.Decision(
            rule="given",
            detector="ratio",
            bin_ms=ms(at) - MINUTE_MS,
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


def run(*incidents: events.Incident) -> list[events.Outage]:
    """Apply transitions to a new ledger, those with the same time as one bin."""
    ledger = Ledger()
    outages = []
    for at_ms in sorted({incident.at_ms for incident in incidents}):
        outage = ledger.apply([incident for incident in incidents if incident.at_ms == at_ms], at_ms, GAP_MS)
        assert outage is not None
        outages.append(outage)
    return outages


def brief(outage: events.Outage) -> tuple[str, int, str]:
    return outage.id, outage.sequence, outage.state


def test_a_bin_without_transitions_publishes_nothing() -> None:
    ledger = Ledger()
    assert ledger.apply([], ms("12:00"), GAP_MS) is None
    assert ledger == Ledger()


def test_the_first_incident_of_a_service_starts_an_outage() -> None:
    (outage,) = run(document("US", "opened", "12:03", "12:02", peak=1210, total=410))
    assert outage == events.Outage(
        id="x.20250524T1202Z",
        sequence=1,
        service="x",
        state="open",
        at_ms=ms("12:03"),
        opened_ms=ms("12:02"),
        restored_ms=None,
        number_of_reports=1210,
        peak_region="US",
        peak_ms=ms("12:03"),
        most_affected=["US"],
        total=410,
        kinds={"app": 1.0},
        regions=[
            events.OutageRegion(
                region="US",
                state="open",
                peak=1210,
                peak_ms=ms("12:03"),
                total=410,
                opened_ms=ms("12:02"),
                closed_ms=None,
                incidents=["x.US.20250524T1202Z"],
            )
        ],
        time_to_restore_ms=None,
        peak_to_clear_ms=None,
    )


def test_the_outage_of_x_is_told_as_the_press_told_it() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02"),
        document("GB", "opened", "12:05", "12:04"),
        document("DE", "opened", "12:06", "12:05"),
        document("ES", "opened", "12:06", "12:05"),
        document("GB", "cleared", "15:30", "12:04", peak=11_200, peak_at="12:50", total=200),
        document("DE", "cleared", "15:00", "12:05", peak=3900, peak_at="12:49", total=100),
        document("ES", "cleared", "15:00", "12:05", peak=2100, peak_at="12:49", total=100),
        document(
            "US",
            "cleared",
            "16:10",
            "12:02",
            peak=25_800,
            peak_at="12:51",
            total=600,
            kinds={"server": 80, "website": 230, "app": 290},
        ),
    )
    assert brief(outage) == ("x.20250524T1202Z", 6, "cleared")
    assert outage.number_of_reports == 25_800
    assert outage.peak_region == "US"
    assert outage.most_affected == ["US", "GB", "DE"]
    assert outage.total == 1000
    assert list(outage.kinds.items()) == [("app", 0.69), ("website", 0.23), ("server", 0.08)]
    assert outage.restored_ms == ms("16:09")
    assert outage.peak_to_clear_ms == (3 * 60 + 18) * MINUTE_MS
    assert outage.time_to_restore_ms == (4 * 60 + 7) * MINUTE_MS


def test_regions_of_equal_peak_rank_by_name() -> None:
    (outage,) = run(*(document(region, "opened", "12:03", "12:02", peak=900) for region in ("FR", "BR", "US", "ES")))
    assert outage.most_affected == ["BR", "ES", "FR"]
    assert [region.region for region in outage.regions] == ["BR", "ES", "FR", "US"]


@pytest.mark.parametrize(
    ("reopened", "at", "second"),
    [
        ("13:30", "13:31", ("x.20250524T1202Z", 3, "open")),
        ("14:00", "14:01", ("x.20250524T1202Z", 3, "open")),
        ("14:01", "14:02", ("x.20250524T1401Z", 1, "open")),
        ("14:30", "14:31", ("x.20250524T1430Z", 1, "open")),
    ],
)
def test_an_opening_up_to_the_merge_gap_after_the_last_closing_continues_the_outage(
    reopened: str, at: str, second: tuple[str, int, str]
) -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02"),
        document("US", "cleared", "13:00", "12:02"),
        document("US", "opened", at, reopened),
    )
    assert brief(outage) == second


def test_an_incident_joins_while_another_region_is_open_however_long_ago_its_own_closed() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02", peak=900, total=50),
        document("GB", "opened", "12:03", "12:02", peak=800, total=30),
        document("US", "cleared", "12:30", "12:02", peak=2000, peak_at="12:20", total=500),
        document("US", "opened", "16:01", "16:00", peak=1500, total=20),
    )
    assert brief(outage) == ("x.20250524T1202Z", 3, "open")
    us, gb = outage.regions
    assert (us.region, us.state, us.peak, us.peak_ms, us.total) == ("US", "open", 2000, ms("12:20"), 520)
    assert (us.opened_ms, us.closed_ms) == (ms("12:02"), None)
    assert us.incidents == ["x.US.20250524T1202Z", "x.US.20250524T1600Z"]
    assert gb.incidents == ["x.GB.20250524T1202Z"]


def test_an_incident_joins_when_it_opens_in_the_bin_in_which_the_last_one_closes() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02"),
        document("US", "cleared", "13:00", "12:02"),
        document("DE", "opened", "13:00", "12:59"),
    )
    assert brief(outage) == ("x.20250524T1202Z", 2, "open")


def test_all_regions_that_open_in_one_bin_start_one_outage() -> None:
    *_, outage = run(
        document("US", "opened", "09:03", "09:02"),
        document("US", "cleared", "09:30", "09:02"),
        document("US", "opened", "12:03", "12:02"),
        document("DE", "opened", "12:03", "12:02"),
    )
    assert brief(outage) == ("x.20250524T1202Z", 1, "open")
    assert [region.region for region in outage.regions] == ["DE", "US"]


def test_growth_updates_the_outage() -> None:
    _, outage = run(
        document("US", "opened", "12:03", "12:02", peak=1000), document("US", "grew", "12:09", "12:02", peak=2100)
    )
    assert (outage.sequence, outage.number_of_reports, outage.peak_ms) == (2, 2100, ms("12:09"))


def test_a_region_whose_end_is_unknown_leaves_the_end_of_the_outage_unknown() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02"),
        document("GB", "opened", "12:03", "12:02"),
        document("GB", "unknown", "12:30", "12:02"),
        document("US", "cleared", "13:00", "12:02"),
    )
    assert outage.state == "unknown"
    assert (outage.restored_ms, outage.time_to_restore_ms, outage.peak_to_clear_ms) == (None, None, None)


def test_a_region_that_opens_and_clears_after_an_unknown_end_is_cleared() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02"),
        document("US", "unknown", "12:30", "12:02"),
        document("US", "opened", "12:41", "12:40"),
        document("US", "cleared", "13:00", "12:40"),
    )
    assert (outage.state, outage.restored_ms) == ("cleared", ms("12:59"))


def test_an_outage_ends_where_the_last_region_fell_below_its_limit() -> None:
    *_, outage = run(
        document("GB", "opened", "12:03", "12:02"),
        document("US", "opened", "12:03", "12:02"),
        document("GB", "cleared", "12:58", "12:02", below="12:57"),
        document("US", "cleared", "13:00", "12:02", below="12:50"),
    )
    assert outage.restored_ms == ms("12:57")


def test_a_peak_among_the_windows_that_clear_leaves_nothing_between_peak_and_clearing() -> None:
    *_, outage = run(
        document("US", "opened", "12:03", "12:02", peak=400),
        document("US", "cleared", "12:06", "12:02", peak=450, peak_at="12:06", below="12:05"),
    )
    assert outage.peak_to_clear_ms == 0


def test_the_whole_service_is_listed_last_and_not_counted_twice() -> None:
    first, second = run(
        document("_all", "opened", "12:03", "12:02", peak=1500, total=300, kinds={"website": 300}),
        document("US", "opened", "12:05", "12:04", peak=1000, total=100),
        document("DE", "opened", "12:05", "12:04", peak=400, total=60),
    )
    assert (first.number_of_reports, first.most_affected, first.total) == (1500, ["_all"], 300)
    assert brief(second) == ("x.20250524T1202Z", 2, "open")
    assert (second.number_of_reports, second.most_affected, second.total) == (1000, ["US", "DE"], 160)
    assert second.kinds == {"app": 1.0}
    assert [region.region for region in second.regions] == ["US", "DE", "_all"]


def test_an_outage_that_began_as_the_whole_services_keeps_its_id_and_takes_its_times_from_the_regions() -> None:
    *_, first, last = run(
        document("_all", "opened", "12:03", "12:02", peak=1500),
        document("US", "opened", "12:05", "12:04", peak=1000),
        document("US", "cleared", "12:30", "12:04", peak=1000, below="12:28"),
        document("_all", "cleared", "12:40", "12:02", peak=2500, peak_at="12:20", below="12:39"),
    )
    assert brief(first) == ("x.20250524T1202Z", 3, "open")
    assert brief(last) == ("x.20250524T1202Z", 4, "cleared")
    assert (last.opened_ms, last.restored_ms) == (ms("12:04"), ms("12:28"))
    assert (last.number_of_reports, last.peak_region) == (1000, "US")


def test_an_outage_without_reports_in_its_bins_has_no_shares() -> None:
    (outage,) = run(document("US", "opened", "12:03", "12:02", total=0, kinds={}))
    assert (outage.total, outage.kinds) == (0, {})


def test_an_outage_that_a_rebuilt_state_does_not_know_becomes_unknown() -> None:
    *_, last = run(
        document("US", "opened", "12:03", "12:02"),
        document("DE", "opened", "12:03", "12:02", peak=500),
        document("DE", "cleared", "12:30", "12:02", peak=500, peak_at="12:10"),
    )
    ended = superseded(last, ms("13:00"))
    assert brief(ended) == (last.id, 3, "unknown")
    us, de = ended.regions
    assert (us.state, us.closed_ms) == ("unknown", ms("13:00"))
    assert de == last.regions[1]
    assert ended.restored_ms is None


def test_a_restored_ledger_goes_on_where_it_was() -> None:
    ledger = Ledger()
    ledger.apply([document("US", "opened", "12:03", "12:02")], ms("12:03"), GAP_MS)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger), type=Ledger)
    assert again == ledger
    cleared = [document("US", "cleared", "13:00", "12:02")]
    assert again.apply(cleared, ms("13:00"), GAP_MS) == ledger.apply(cleared, ms("13:00"), GAP_MS)
