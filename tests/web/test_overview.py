"""The overview brought up to date by what has changed says what it says when it is fetched anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from streams.events import LevelState
from tests.support.webapp import WebApp, web_app
from tests.support.webdata import level

ROW = re.compile(r'<div role="listitem".*?</div>\s*<svg.*?</p>\s*</div>', re.DOTALL)
NAME = re.compile(r'data-service="([^"]+)"')
FIGURE = re.compile(r'(<p class="figure"><b>)[^<]*(</b> <small>)[^<]*(</small>)')
LIVE = re.compile(r"<(p|div|b)\b[^>]*\bdata-live.*?</\1>", re.DOTALL)


class Overview:
    """What a browser shows that has fetched the page once, and since then what has changed."""

    def __init__(self, client: TestClient, asked: str) -> None:
        self._client, self._asked = client, asked
        page = client.get(f"/?{asked}").text
        self.rows = dict(rows(page))
        self.around = around(page)
        self.after = re.findall(r'data-after="([^"]*)"', page)[0]

    def update(self) -> int:
        """Bring it up to date, and return how many rows came as markup."""
        answer = self._client.get(f"/changes?{self._asked}&after={self.after}").json()
        fresh = dict(rows(answer["markup"]))
        shown = {}
        for name, window, usual in zip(answer["order"], answer["window"], answer["usual"], strict=True):
            row = fresh.get(name) or self.rows[name]
            shown[name] = FIGURE.sub(rf"\g<1>{window}\g<2>{usual}\g<3>", row)
        self.rows, self.after, self.around = shown, answer["after"], around(answer["markup"])
        return len(fresh)


def rows(page: str) -> list[tuple[str, str]]:
    """Return names and markup of rows, in their order."""
    return [(NAME.findall(row)[0], re.sub(r"\s+", " ", row)) for row in ROW.findall(page)]


def around(page: str) -> list[str]:
    """Return what changes beside the rows."""
    return sorted(re.sub(r"\s+", " ", found[0]) for found in LIVE.finditer(page))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebApp]:
    with web_app(tmp_path, []) as made:
        yield made


STATES = st.sampled_from(get_args(LevelState))
BINS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "bb", "c"]), st.tuples(STATES, st.integers(0, 3)), max_size=4),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(BINS, st.sets(st.integers(0, 8)), st.sampled_from(["", "q=b", "state=open&state=held", "lang=ar"]))
def test_what_has_changed_makes_of_an_old_page_the_new_one(
    bins: list[dict[str, tuple[LevelState, int]]], looks: set[int], asked: str
) -> None:
    with TemporaryDirectory() as folder, web_app(Path(folder), []) as web:
        client = TestClient(web.app)
        shown = Overview(client, asked)
        for number, bin_ in enumerate(bins):
            web.enter([level(name, number, state, count) for name, (state, count) in bin_.items()])
            if number in looks:
                shown.update()
        shown.update()
        anew = Overview(client, asked)
        assert list(shown.rows.items()) == list(anew.rows.items())
        assert shown.around == anew.around
        assert shown.after == anew.after


def test_where_figures_alone_have_changed_no_row_comes_again(web: WebApp) -> None:
    client = TestClient(web.app)
    web.enter([level(f"service-{number}", 0, "normal", 2) for number in range(30)])
    shown = Overview(client, "")
    web.enter([level(f"service-{number}", 1, "normal", 3) for number in range(30)])
    assert shown.update() == 0
    assert "<b>45</b> <small>usually 30</small>" in shown.rows["service-7"]
    web.enter([level("service-7", 2, "open", 9)])
    assert shown.update() == 1
    assert next(iter(shown.rows)) == "service-7"


@pytest.mark.parametrize("after", ["", "00000000.1", "nonsense", "{model}.999999"])
def test_who_knows_another_read_model_or_none_gets_all_rows(web: WebApp, after: str) -> None:
    web.enter([level("a", 0, "normal", 2), level("b", 0, "learning", 2)])
    known = after.format(model=web.model.name)
    answer = TestClient(web.app).get(f"/changes?after={known}").json()
    assert {name for name, _ in rows(answer["markup"])} == {"a", "b"}
    assert answer["after"] == str(web.site.changes.here())


def test_a_state_that_is_none_is_asked_wrongly(web: WebApp) -> None:
    assert TestClient(web.app).get("/changes?state=broken").status_code == 400


def test_a_page_that_is_known_is_not_sent_again(web: WebApp) -> None:
    client = TestClient(web.app)
    web.enter([level("a", 0, "normal", 2)])
    first = client.get("/")
    known = {"if-none-match": first.headers["etag"]}
    assert client.get("/", headers=known).status_code == 304
    assert client.get("/", headers={**known, "accept-language": "ar"}).status_code == 200
    web.health = ("stale", "no newer level for 200 s", 200.0)
    assert client.get("/", headers=known).status_code == 200
    web.health = ("live", None, 0.5)
    web.enter([level("a", 1, "normal", 3)])
    assert client.get("/", headers=known).status_code == 200
