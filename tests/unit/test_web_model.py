"""The read model is what the topics say, however their facts arrive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events import Incident, Level, Levels, Outage, QuarterLevel, QuarterLevels, decode, encode
from streams.topics import Topics
from streams.versions import VersionError
from streams.web.model import BINS_KEPT_MS, QUARTERS_KEPT_MS, Fact, ModelError, ReadModel
from streams.web.query import Filter
from streams.web.site import Site
from tests.support.webdata import answers, enter, live, outage_of_x, with_database

TOPICS = Topics("tocsin")
MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
START_MS = 1_748_044_800_000


@contextmanager
def model_in(folder: str | Path) -> Iterator[tuple[ReadModel, Site]]:
    own = with_database(outage_of_x()[0], Path(folder, "web.sqlite3"))
    model = ReadModel(own)
    try:
        yield model, Site(own, live)
    finally:
        model.close()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ReadModel]:
    with model_in(tmp_path) as (made, _):
        yield made


@pytest.fixture
def site(model: ReadModel) -> Site:
    return Site(with_database(outage_of_x()[0], model.path), live)


def truth() -> dict[str, object]:
    with TemporaryDirectory() as folder, model_in(folder) as (model, site):
        enter(model, outage_of_x()[1])
        return answers(site)


def levels(service: str, bin_ms: int, count: int, state: str = "normal", incident: str | None = None) -> bytes:
    level = Level(
        region="US",
        count=count,
        window=15 * count,
        expected=2.0,
        score=0.5,
        score_threshold=5.0,
        raise_above=None,
        clear_below=None,
        state=state,  # type: ignore[arg-type]
        incident=incident,
    )
    return encode(Levels(service=service, bin_ms=bin_ms, regions=[level]))


def quarter(service: str, start_ms: int, count: int) -> bytes:
    level = QuarterLevel(region="US", bins=15, count=count, window=count, peak=count, expected=30.0, state="normal")
    return encode(QuarterLevels(service=service, start_ms=start_ms, regions=[level]))


def fact(topic: str, value: bytes, offset: int = 0) -> Fact:
    return Fact(topic, 0, offset, value)


# How facts arrive


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_facts_repeated_and_in_any_order_give_the_same_answers(seed: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    facts = outage_of_x()[1]
    often = [facts[index] for index in rng.integers(len(facts), size=len(facts) // 3)]
    shuffled = [[*facts, *often][index] for index in rng.permutation(len(facts) + len(often))]
    with TemporaryDirectory() as folder, model_in(folder) as (model, site):
        for first in range(0, len(shuffled), at_once):
            enter(model, shuffled[first : first + at_once])
        assert answers(site) == truth()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
def test_a_model_goes_on_where_it_was_and_a_deleted_one_is_made_anew(ends: list[int], deleted: bool) -> None:
    facts = outage_of_x()[1]
    with TemporaryDirectory() as folder:
        for end in (*sorted(ends), len(facts)):
            with model_in(folder) as (model, _):
                known = model.positions()
                enter(model, [each for each in facts[:end] if each.offset >= known.get((each.topic, 0), 0)])
            if deleted and end != len(facts):
                for path in Path(folder).glob("web.sqlite3*"):
                    path.unlink()
        with model_in(folder) as (_, site):
            assert answers(site) == truth()


def test_facts_and_the_offset_behind_them_are_entered_together_or_not_at_all(model: ReadModel, site: Site) -> None:
    incident = next(each for each in outage_of_x()[1] if each.topic == TOPICS.incidents)
    newer = msgspec.json.encode(msgspec.json.decode(incident.value) | {"version": 2})
    with pytest.raises(VersionError, match="incident version 2"):
        enter(model, [incident, incident._replace(value=newer, offset=1)])
    assert model.positions() == {}
    assert model.revision == 0
    assert site.query.incidents(Filter()).incidents == []


def test_a_record_that_is_no_fact_is_counted_and_passed_over(model: ReadModel) -> None:
    good = fact(TOPICS.levels, levels("mail", START_MS, 3), 1)
    applied = model.apply([fact(TOPICS.levels, b"{"), good], {(TOPICS.levels, 0): 2})
    assert (applied.unreadable, applied.entered) == ({"levels": 1}, {"levels": 1})
    assert model.positions() == {(TOPICS.levels, 0): 2}


def test_a_fact_stated_again_is_counted_and_one_that_contradicts_does_not_count(model: ReadModel, site: Site) -> None:
    first = next(each for each in outage_of_x()[1] if each.topic == TOPICS.outages)
    stated = decode(first.value, Outage)
    other = encode(msgspec.structs.replace(stated, number_of_reports=stated.number_of_reports + 1))
    applied = model.apply([first, first, first._replace(value=other)], {})
    assert (applied.entered, applied.repeated, applied.contradicted) == (
        {"outages": 1},
        {"outages": 1},
        {"outages": 1},
    )
    assert site.query.outage(stated.id).outage == stated


def test_what_changes_nothing_makes_no_revision(model: ReadModel) -> None:
    value = fact(TOPICS.levels, levels("mail", START_MS, 3))
    assert [model.apply([value], {}).revision for _ in range(3)] == [1, 1, 1]
    assert model.revision == 1


# The file


@pytest.mark.parametrize("other", ["another version", "another prefix", "other bins"])
def test_a_file_of_another_kind_is_made_anew(tmp_path: Path, other: str) -> None:
    own = with_database(outage_of_x()[0], tmp_path / "web.sqlite3")
    before = own
    match other:
        case "another prefix":
            before = own.model_copy(update={"kafka": own.kafka.model_copy(update={"prefix": "elsewhere"})})
        case "other bins":
            before = own.model_copy(update={"count": own.count.model_copy(update={"bin_s": 300})})
    model = ReadModel(before)
    enter(model, [fact(f"{before.kafka.prefix}.levels", levels("mail", START_MS, 3))])
    name = model.name
    model.close()
    if other == "another version":
        with sqlite3.connect(tmp_path / "web.sqlite3") as db:
            db.execute("UPDATE meta SET value = '0' WHERE name = 'schema'")
    again = ReadModel(own)
    try:
        assert again.name != name
        assert (again.revision, again.positions()) == (0, {})
        assert Site(own, live).query.services().services == []
    finally:
        again.close()


@pytest.mark.parametrize("database", [True, False])
def test_what_is_no_read_model_is_left_as_it_is(tmp_path: Path, database: bool) -> None:
    path = tmp_path / "web.sqlite3"
    if database:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE meta (name TEXT, value TEXT)")
    else:
        path.write_bytes(b"something else" * 1000)
    before = path.read_bytes()
    with pytest.raises(ModelError, match=r"web\.sqlite3 \(web\.database\): .*(no read model|not a database)"):
        ReadModel(with_database(outage_of_x()[0], path))
    assert path.read_bytes() == before


def test_only_one_process_writes_to_a_file(model: ReadModel) -> None:
    with pytest.raises(ModelError, match=r"web\.sqlite3 \(web.database\): another tocsin web does"):
        ReadModel(with_database(outage_of_x()[0], model.path))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere/web\.sqlite3 \(web\.database\)"):
        ReadModel(with_database(outage_of_x()[0], tmp_path / "nowhere" / "web.sqlite3"))


def test_a_model_of_another_cluster_is_told_apart(model: ReadModel) -> None:
    assert model.belongs_to("one")
    assert model.belongs_to("one")
    assert not model.belongs_to("another")
    name = model.name
    model.clear()
    assert model.belongs_to("another")
    assert model.name != name


def test_what_is_kept_does_not_grow_with_time(model: ReadModel, site: Site) -> None:
    day = 24 * 60 // 15
    numbers = range(30 * day)
    for first in range(0, len(numbers), day):
        own = numbers[first : first + day]
        enter(model, [fact(TOPICS.levels, levels("mail", START_MS + each * QUARTER_MS, 3)) for each in own])
        enter(model, [fact(TOPICS.levels_15m, quarter("mail", START_MS + each * QUARTER_MS, 45)) for each in own])
    with site.query.database.reading() as db:
        assert db.execute("SELECT count(*) FROM levels").fetchone()[0] <= BINS_KEPT_MS // QUARTER_MS + day
        assert db.execute("SELECT count(*) FROM quarters").fetchone()[0] <= QUARTERS_KEPT_MS // QUARTER_MS + day


def test_a_service_that_is_no_longer_judged_is_forgotten_after_a_day(model: ReadModel, site: Site) -> None:
    enter(model, [fact(TOPICS.levels, levels("gone", START_MS, 3)), fact(TOPICS.levels, levels("mail", START_MS, 3))])
    assert [each.service for each in site.query.services().services] == ["gone", "mail"]
    enter(model, [fact(TOPICS.levels, levels("mail", START_MS + BINS_KEPT_MS, 3))])
    assert [each.service for each in site.query.services().services] == ["mail"]
    # a fact from before that comes again does not bring it back
    enter(model, [fact(TOPICS.levels, levels("gone", START_MS, 3))])
    assert [each.service for each in site.query.services().services] == ["mail"]


# What is said of it


def test_services_that_fail_come_first_then_those_of_which_nothing_is_known(model: ReadModel, site: Site) -> None:
    states = {
        "a": "normal",
        "b": "learning",
        "c": "unobserved",
        "d": "sensor-lost",
        "e": "held",
        "f": "open",
        "g": "open",
    }
    facts = [
        fact(
            TOPICS.levels,
            levels(name, START_MS, number + 1, state, f"{name}.US.x" if state in ("open", "held") else None),
        )
        for number, (name, state) in enumerate(states.items())
    ]
    enter(model, facts)
    assert [each.service for each in site.query.services().services] == ["g", "f", "e", "d", "c", "a", "b"]


@pytest.mark.parametrize("state", ["sensor-lost", "unobserved"])
def test_a_sparkline_has_a_gap_where_nothing_was_known(model: ReadModel, site: Site, state: str) -> None:
    start_ms = START_MS // QUARTER_MS * QUARTER_MS
    lost = QuarterLevel(region="US", bins=15, count=0, window=0, peak=0, expected=30.0, state=state)  # type: ignore[arg-type]
    gap = encode(QuarterLevels(service="a", start_ms=start_ms + QUARTER_MS, regions=[lost]))
    enter(
        model,
        [
            fact(TOPICS.levels_15m, quarter("a", start_ms, 30)),
            fact(TOPICS.levels_15m, gap),
            fact(TOPICS.levels_15m, quarter("a", start_ms + 2 * QUARTER_MS, 31)),
            fact(TOPICS.levels, levels("a", start_ms + 3 * QUARTER_MS, 2)),
        ],
    )
    assert site.ranges.sparklines().services["a"].window[-3:] == [30, None, 31]
    assert site.ranges.sparklines(["a", "none"]).services.keys() == {"a"}
    assert site.ranges.sparklines(["none"]).services == {}


def test_an_outage_that_goes_on_after_it_was_said_to_be_over_is_corrected_visibly(model: ReadModel, site: Site) -> None:
    documents = [each for each in outage_of_x()[1] if each.topic == TOPICS.outages]
    last = decode(documents[-1].value, Outage)
    assert last.state == "cleared"
    again = msgspec.structs.replace(
        last, sequence=last.sequence + 1, state="open", restored_ms=None, at_ms=last.at_ms + 30 * MINUTE_MS
    )
    enter(model, [*documents, fact(TOPICS.outages, encode(again), len(documents))])
    changes = site.query.outage(last.id).changes
    assert [change.correction for change in changes[:-1]] == [None] * (len(changes) - 1)
    assert changes[-1].correction == "it was said to be over; restored at 2025-05-24T16:09Z, after 4 h 8 min"


def test_the_outage_of_x_is_told_as_it_was(model: ReadModel, site: Site) -> None:
    enter(model, outage_of_x()[1])
    (outage,) = site.query.outages(Filter()).outages
    detail = site.query.outage(outage.id)
    assert outage.number_of_reports == 25_800
    assert detail.timeline[0].transition == "opened"
    assert len(detail.timeline) == len([each for each in outage_of_x()[1] if each.topic == TOPICS.incidents])
    series = site.ranges.outage(outage)
    assert series.regions[0].region == "US"
    assert max(each for each in series.regions[0].window if each is not None) == 25_800
    assert series.start_ms == outage.opened_ms - 60 * MINUTE_MS


def test_around_an_outage_facts_and_levels_say_the_same(model: ReadModel, site: Site) -> None:
    facts = outage_of_x()[1]
    enter(model, [each for each in facts if each.topic != TOPICS.series])
    (outage,) = site.query.outages(Filter()).outages
    of_levels = site.ranges.outage(outage)
    assert not of_levels.complete
    enter(model, [each for each in facts if each.topic == TOPICS.series])
    of_facts = site.ranges.outage(outage)
    assert of_facts.regions == of_levels.regions
    assert decode(facts[0].value, Levels).service == "x"
    assert len([each for each in facts if each.topic == TOPICS.series]) >= 8


def test_incidents_of_the_timeline_are_those_of_the_topic(model: ReadModel, site: Site) -> None:
    enter(model, outage_of_x()[1])
    for incident in site.query.incidents(Filter()).incidents:
        detail = site.query.incident(incident.id)
        stated = [
            decode(each.value, Incident)
            for each in outage_of_x()[1]
            if each.topic == TOPICS.incidents and decode(each.value, Incident).id == incident.id
        ]
        assert detail.transitions == stated
