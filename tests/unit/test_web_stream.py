"""Who listens, and comes again after a while, knows what one who never went away does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.request import Request, urlopen

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from streams.web import hub as hub_module
from streams.web.changes import Interest, Place, event, place
from streams.web.model import Fact
from streams.web.server import listen, serve
from tests.support.streamclient import Known, events
from tests.support.waiting import eventually, until
from tests.support.webapp import WebApp, web_app
from tests.support.webdata import outage_of_x


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    with web_app(tmp_path, []) as made:
        yield made


def batches(seed: int, facts: list[Fact]) -> Iterator[list[Fact]]:
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(facts):
        size = int(rng.integers(1, 200))
        yield facts[at : at + size]
        at += size


# What has changed


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, "x"]))
def test_a_client_that_comes_again_from_time_to_time_misses_nothing(seed: int, service: str | None) -> None:
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as folder, web_app(Path(folder), []) as web:
        start = web.site.changes.here()
        always, sometimes = Known(), Known(last_id=str(start))
        for facts in batches(seed, outage_of_x()[1]):
            before = web.site.changes.here()
            web.enter(facts)
            always.take_all(web.site.changes.since(before, Interest(service))[1].decode())
            if rng.random() < 0.2:
                known = place(str(sometimes.last_id))
                assert known is not None
                sometimes.take_all(web.site.changes.since(known, Interest(service))[1].decode())
        known = place(str(sometimes.last_id))
        assert known is not None
        sometimes.take_all(web.site.changes.since(known, Interest(service))[1].decode())
        assert sometimes.last_id == always.last_id == str(web.site.changes.here())
        assert sometimes.told == always.told
        assert sometimes.resets == 0
        assert always.transitions
        assert bool(always.levels) == (service is not None)


def test_where_nothing_has_changed_nothing_is_said(web: WebApp) -> None:
    here = web.site.changes.here()
    assert web.site.changes.since(here) == (here, b"")


@pytest.mark.parametrize("known", [Place("00000000", 1), Place("", 0)])
def test_who_knows_another_read_model_is_told_to_begin_anew(web: WebApp, known: Place) -> None:
    web.enter(outage_of_x()[1][:100])
    here, message = web.site.changes.since(known)
    assert [each.name for each in events(message.decode())] == ["reset", "revision"]
    assert events(message.decode())[-1].id == str(here)


def test_who_has_missed_too_much_is_told_to_begin_anew(web: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.web.changes.MOST_TRANSITIONS", 3)
    start = web.site.changes.here()
    web.enter(outage_of_x()[1])
    assert [each.name for each in events(web.site.changes.since(start)[1].decode())] == ["reset", "revision"]


def test_a_place_ahead_of_the_model_is_of_another_one(web: WebApp) -> None:
    ahead = Place(web.model.name, web.model.revision + 1)
    assert events(web.site.changes.since(ahead)[1].decode())[0].name == "reset"


@pytest.mark.parametrize("text", ["", ".", "5f0c1a2b", "5f0c1a2b.", "5f0c1a2b.x", "5f0c1a2b.-1", "5f0c1a2b.²", "." * 9])
def test_what_is_no_id_of_ours_is_no_place(text: str) -> None:
    assert place(text) is None


def test_who_resumes_with_a_brief_stream_misses_no_change_of_the_service(web: WebApp) -> None:
    start = web.site.changes.here()
    web.enter(outage_of_x()[1][:100])
    here, message = web.site.changes.since(start, Interest("x", brief=True))
    assert [(each.name, each.id) for each in events(message.decode())] == [("revision", str(here))]
    assert web.site.changes.since(start, Interest("y", brief=True)) == (here, b"")
    assert web.site.changes.since(here, Interest("x", brief=True)) == (here, b"")


def test_lines_within_data_stay_data() -> None:
    (found,) = events(event("outage", b'{\r\n"id":\n1}').decode())
    assert found.data == {"id": 1}


# Who listens


class Listener:
    """A client in the same loop, which reads as fast as it is let."""

    def __init__(self, web: WebApp, known: Known, service: str | None = None, *, brief: bool = False) -> None:
        self.known = known
        self._hub, self._service, self._brief = web.hub, service, brief
        self.reading = asyncio.Event()
        self.reading.set()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        since = None if self.known.last_id is None else place(self.known.last_id)
        async with aclosing(self._hub.listen(Interest(self._service, self._brief), since)) as messages:  # type: ignore[type-var]
            async for message in messages:
                self.known.take_all(message.decode())
                await self.reading.wait()


def test_all_are_told_what_changes_and_how_current_it_is(web: WebApp) -> None:
    async def listen_in() -> None:
        async with web.hub.telling():
            everyone = [Listener(web, Known(), service) for service in (None, "x", "y") for _ in range(3)]
            await eventually(lambda: all(each.known.last_id for each in everyone), "all listen")
            web.enter(outage_of_x()[1])
            end = str(web.site.changes.here())
            await eventually(lambda: all(each.known.last_id == end for each in everyone), "all are told")
            web.health = ("stale", "no newer level for 200 s", 200.0)
            await eventually(
                lambda: all(each.known.statuses[-1]["state"] == "stale" for each in everyone), "all are told"
            )
            first, of_x, of_y = everyone[0].known, everyone[3].known, everyone[6].known
            assert set(first.services) == {"x"}
            assert (len(first.levels), len(of_x.levels) > 100, len(of_y.levels)) == (0, True, 0)
            assert first.transitions == of_x.transitions
            assert not of_y.transitions

    asyncio.run(listen_in())


def test_who_wants_no_more_is_told_that_something_has_changed(web: WebApp) -> None:
    async def listen_in() -> None:
        async with web.hub.telling():
            here = str(web.site.changes.here())
            everyone = [Listener(web, Known(last_id=here), service, brief=True) for service in (None, "x", "y")]
            await eventually(lambda: all(each.known.statuses for each in everyone), "all listen")
            web.enter(outage_of_x()[1])
            end = str(web.site.changes.here())
            of_all, of_x, of_y = (each.known for each in everyone)
            await eventually(lambda: of_all.last_id == of_x.last_id == end, "both are told")
            assert of_all.told == of_x.told == ({}, {}, {}, {})
            assert of_y.last_id == here

    asyncio.run(listen_in())


def test_a_client_that_is_too_slow_is_cut_off_and_resumes_without_loss(
    web: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "WAITING_MESSAGES", 4)
    monkeypatch.setattr(hub_module, "GATHER_S", 0.0)

    async def listen_in() -> None:
        async with web.hub.telling():
            quick, slow = Listener(web, Known(), "x"), Listener(web, Known(), "x")
            await eventually(lambda: quick.known.last_id and slow.known.last_id, "both listen")
            slow.reading.clear()
            for facts in batches(1, outage_of_x()[1]):
                web.enter(facts)
                await eventually(lambda: quick.known.last_id == str(web.site.changes.here()), "the quick one is told")
            assert web.metrics.dropped._value.get() == 1
            assert len(slow.known.levels) < len(quick.known.levels)
            slow.reading.set()
            await slow.task
            again = Listener(web, slow.known, "x")
            await eventually(lambda: again.known.last_id == quick.known.last_id, "the slow one knows the same")
            assert again.known.told == quick.known.told
            assert again.known.resets == 0

    asyncio.run(listen_in())


def test_the_end_of_the_server_ends_all_streams(web: WebApp) -> None:
    async def listen_in() -> None:
        async with web.hub.telling():
            everyone = [Listener(web, Known()) for _ in range(5)]
            await eventually(lambda: all(each.known.last_id for each in everyone), "all listen")
            web.hub.close()
            await asyncio.gather(*(each.task for each in everyone))
            assert not web.hub.has_room
            assert web.metrics.streams._value.get() == 0

    asyncio.run(listen_in())


def test_no_more_listen_than_may(tmp_path: Path) -> None:
    with web_app(tmp_path, max_streams=2) as web:

        async def listen_in() -> None:
            async with web.hub.telling():
                everyone = [Listener(web, Known()) for _ in range(2)]
                await eventually(lambda: all(each.known.last_id for each in everyone), "all listen")
                assert not web.hub.has_room
                response = await asyncio.to_thread(TestClient(web.app).get, "/api/v1/stream")
                assert response.status_code == 503
                assert "web.max_streams" in response.json()["detail"]

        asyncio.run(listen_in())


# Over a socket


def test_a_browser_that_comes_again_is_sent_what_it_has_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.web.stream.HEARTBEAT_S", 0.1)
    facts = outage_of_x()[1]
    with web_app(tmp_path, facts[:50], port=0) as web:
        listener = listen(web.site.settings)
        port = listener.getsockname()[1]
        start = web.site.changes.here()
        server = Thread(target=serve, args=(web.site, web.hub, web.app, listener), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{port}/api/v1/stream?service=x&after={start}"
        web.enter(facts[50:100])
        known = Known()
        with urlopen(Request(url, headers={"accept-encoding": "gzip"}), timeout=30) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-accel-buffering"] == "no"
            assert "content-encoding" not in response.headers
            text = ""
            while "revision" not in text or not text.endswith("\n\n") or ": there" not in text:
                text += response.readline().decode()
            assert text.startswith("retry: 2000\n")
            known.take_all(text)
        assert len(known.levels) >= 10
        web.enter(facts[100:])
        again = Request(url, headers={"last-event-id": str(known.last_id)})
        with urlopen(again, timeout=30) as response:
            here, text = str(web.site.changes.here()), ""
            while f"id: {here}" not in text or not text.endswith("\n\n"):
                text += response.readline().decode()
            known.take_all(text)
        assert known.last_id == here
        assert known.transitions.keys() == {
            (each.id, each.sequence) for each in web.site.query.outage("x.20250524T1201Z").timeline
        }
        web.hub.close()
        until(lambda: web.metrics.streams._value.get() == 0, "no client is left")
