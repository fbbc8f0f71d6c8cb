"""Why an incident opened, went on and ended, in words that need no knowledge of rules."""

from __future__ import annotations

import msgspec
import pytest

from streams.events import Decision, Incident, Level, Levels, Transition, incident_id
from streams.explanation import Explanation, chart, explain, headline
from streams.settings import Settings

MINUTE_MS = 60_000
START_MS = 1_748_088_000_000  # 2025-05-24T12:00Z
SETTINGS = Settings()
DECISION = Decision(
    rule="raise",
    detector="nbsr",
    bin_ms=START_MS,
    count=86,
    window=410,
    window_bins=15,
    expected=4.2,
    score=14.2,
    score_threshold=12.98,
    clear_level=8.1,
    clear_score=0.0,
    clear_threshold=5.0,
    figures={"dispersion": 1.5},
    raise_above=None,
    clear_below=None,
)


def document(sequence: int, transition: Transition, minute: int, **decision: object) -> Incident:
    state = transition if transition in ("cleared", "unknown") else "open"
    at_ms = START_MS + minute * MINUTE_MS
    return Incident(
        id=incident_id("x", "US", START_MS),
        sequence=sequence,
        service="x",
        region="US",
        transition=transition,
        state=state,
        held=False,
        reason="too many bins in a row not observed",
        at_ms=at_ms,
        opened_ms=START_MS,
        closed_ms=None if state == "open" else at_ms,
        peak=900,
        peak_ms=START_MS + 9 * MINUTE_MS,
        total=1234,
        kinds={"app": 1234},
        decision=msgspec.structs.replace(DECISION, bin_ms=at_ms - MINUTE_MS, **decision),
    )


def levels(counts: list[int], first: int = 0, **level: object) -> list[Levels]:
    stated = []
    for minute, count in enumerate(counts, start=first):
        one = Level(
            region="US",
            count=count,
            window=3 * count,
            expected=4.0,
            score=1.0,
            score_threshold=12.98,
            clear_score=0.0 if count > 10 else 2.0,
            clear_threshold=5.0,
            raise_above=None,
            clear_below=None,
            state="open",
        )
        other = msgspec.structs.replace(one, region="DE", count=7777)
        regions = [other, msgspec.structs.replace(one, **level)]
        stated.append(Levels(service="x", bin_ms=START_MS + minute * MINUTE_MS, regions=regions))
    return stated


def explained(*documents: Incident, of: list[Levels] | None = None) -> Explanation:
    return explain(documents, of or [], SETTINGS)


def text(transition: Transition, **decision: object) -> str:
    return explained(document(1, "opened", 1), document(2, transition, 20, **decision)).transitions[-1].text


OPENED = document(1, "opened", 1)


BIN = "The bin from 2025-05-24T12:00Z on held 86 reports"
WINDOW = "There were 410 reports in the 15 min up to then"


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (
            {},
            f"{BIN} in 1 min, where 4.2 are usual. The score of nbsr was 14.2; it raises from 12.98 on. "
            f"{WINDOW}; no policy asks for a number.",
        ),
        (
            {"raise_above": 400, "expected": None},
            f"{BIN} in 1 min, with no usual level known. The score of nbsr was 14.2; it raises from 12.98 on. "
            f"{WINDOW}; the policy asks for at least 400.",
        ),
        (
            {"detector": "limit", "score": 52.0, "score_threshold": 50.0, "raise_above": 750},
            f"{BIN}. Three of the last five bins had at least 52; 50 was enough (an absolute limit). "
            f"{WINDOW}; the policy asks for at least 750.",
        ),
    ],
)
def test_why_it_opened(decision: dict[str, object], said: str) -> None:
    assert explained(document(1, "opened", 1, **decision)).transitions[0].text == said


@pytest.mark.parametrize(
    ("transition", "decision", "part"),
    [
        ("grew", {"rule": "grow"}, "at least twice as many as had been announced"),
        ("held", {"rule": "incomplete"}, "it may grow but cannot end"),
        ("held", {"rule": "silent"}, "No report came from anywhere"),
        ("resumed", {"rule": "complete"}, "from now on it can end"),
        (
            "cleared",
            {"rule": "clear_below", "clear_below": 650},
            "The policy lets it end below 650, or below 1.3",
        ),
        ("cleared", {"rule": "clear_level"}, "nbsr takes it for over below 8.1 a bin"),
        ("cleared", {"rule": "clear_learning", "raise_above": 750}, "fall below raise_above, 750, over 1.15"),
        (
            "cleared",
            {"rule": "clear_score", "clear_score": 5.3},
            "end is 5.3, and nbsr takes 5 for enough",
        ),
        ("unknown", {"rule": "rebaselined"}, "taken for the usual one from now on. Whether the outage is over"),
        ("unknown", {"rule": "gap"}, "Too many bins in a row not observed."),
    ],
)
def test_why_it_changed(transition: Transition, decision: dict[str, object], part: str) -> None:
    assert part in text(transition, **decision)


def test_the_headline_says_what_where_and_for_how_long() -> None:
    assert headline(explained(OPENED), SETTINGS) == "x in United States: open since 2025-05-24T12:00Z"
    over = explained(OPENED, document(2, "cleared", 20))
    assert headline(over, SETTINGS) == "x in United States: 2025-05-24T12:00Z to 2025-05-24T12:20Z, 20 min, cleared"
    lost = explained(OPENED, document(2, "unknown", 20))
    assert headline(lost, SETTINGS).endswith("20 min, end unknown")


def test_why_it_went_on_is_told_by_the_levels_while_it_was_open() -> None:
    counts = [4] * 30 + [50] * 15 + [90] + [5] * 4 + [4] * 30
    over = explained(OPENED, document(2, "cleared", 20), of=levels(counts, first=-30))
    assert over.between == [
        "The busiest bin began at 2025-05-24T12:15Z, with 90 reports, 22.5 times what was expected.",
        "In 16 of its 20 bins nothing spoke for the end, the last one from 2025-05-24T12:15Z on.",
    ]
    limited = explained(OPENED, document(2, "cleared", 20), of=levels(counts, first=-30, clear_below=200))
    assert limited.between[1] == (
        "In 1 of its 20 bins the window held 200 reports or more (clear_below), the last one from 2025-05-24T12:15Z on."
    )
    held = explained(OPENED, document(2, "cleared", 20), of=levels(counts, first=-30, state="held"))
    assert held.between[2].startswith("In 20 of its 20 bins it was held")
    assert explained(OPENED, document(2, "cleared", 20)).between == ["The levels of that time are no longer held."]


def test_levels_far_from_an_incident_that_is_over_are_left_out_and_repeated_ones_are_there_once() -> None:
    many = levels([4] * 300, first=-100)
    over = explained(OPENED, document(2, "cleared", 20), of=[*many, *many[90:110]])
    minutes = [(moment.bin_ms - START_MS) // MINUTE_MS for moment in over.levels]
    assert minutes == list(range(-15, 35))
    assert {moment.level.region for moment in over.levels} == {"US"}
    assert len(explained(OPENED, of=many).levels) == 215, "an open one is shown up to now"


def test_the_chart_shows_counts_against_what_was_expected() -> None:
    counts = [4] * 15 + [10, 20, 40, 40, 40, 40, 20, 10] + [4] * 27
    drawn = chart(explained(OPENED, document(2, "cleared", 8), of=levels(counts, first=-15)), SETTINGS)
    assert drawn is not None
    assert drawn.lines == [
        "40 ┤                 ████                 ",
        "   ┤                 ████                 ",
        "   ┤                 ████                 ",
        "   ┤                 ████                 ",
        "   ┤                ██████                ",
        "   ┤                ██████                ",
        "   ┤               ████████               ",
        " 0 ┤▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆████████▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆",
        "   └───────────────▲───────▼──────────────",
        "    2025-05-24T11:45Z    2025-05-24T12:23Z",
    ]
    assert drawn.legend == "█ reports in 1 min, the mean of each 1 min; ┄ expected, 4 to 4; ▲ opened, ▼ ended"
    assert chart(explained(OPENED), SETTINGS) is None


def test_what_is_expected_is_drawn_where_no_reports_hide_it() -> None:
    drawn = chart(explained(OPENED, document(2, "unknown", 3), of=levels([0] * 33, first=-15)), SETTINGS)
    assert drawn is not None
    assert drawn.lines[0] == "4 ┤" + "┄" * 33
    assert drawn.lines[1] == "  ┤" + " " * 33


def test_a_long_incident_is_drawn_in_columns_of_several_bins() -> None:
    drawn = chart(explained(OPENED, of=levels([4] * 1000, first=0)), SETTINGS)
    assert drawn is not None
    assert max(len(line) for line in drawn.lines) <= 80
    assert "the mean of each 14 min" in drawn.legend
