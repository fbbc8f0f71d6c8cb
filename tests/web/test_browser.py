"""The pages in a real Chromium: what people see, also while the server is away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from streams.web.pages.languages import read_languages
from tests.support.programs import program
from tests.support.waiting import until
from tests.support.webdata import level, outage_of_x
from tests.support.webserver import WebServer, web_server

OUTAGE = "x.20250524T1201Z"
VIEWS = {
    "overview": "/",
    "service": "/services/x?range=24h",
    "outage": f"/outages/{OUTAGE}",
    "history": "/history",
    "error": "/services/none",
}
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
#: Where Chromium would ask its makers for something by itself.
QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Everything takes longer on a machine that others use too.
TIMEOUT_MS = 60_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = program("chromium")
    with sync_playwright() as playwright:
        # the sandbox needs rights that a container does not give; nothing but our own pages is opened
        arguments = ["--no-sandbox", "--disable-gpu", *QUIET]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Yield a server that has seen the whole outage."""
    with web_server(tmp_path_factory.mktemp("over"), outage_of_x()[1]) as server:
        yield server


def until_it(state: Literal["is quiet", "goes on"]) -> int:
    """Return how many facts tell of the outage of X until it begins, or has been going on for a while."""
    facts = outage_of_x()[1]
    first = next(number for number, fact in enumerate(facts) if "outages" in fact.topic)
    return first - 40 if state == "is quiet" else first + 90


@contextmanager
def visit(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 800,
    language: str = "en",
    theme: Literal["light", "dark"] = "light",
) -> Iterator[Page]:
    """Yield a page in Berlin; whatever goes wrong on it, or leaves the host, fails the test."""
    locale = {"en": "en-GB"}.get(language, language)
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, locale=locale, timezone_id="Europe/Berlin", color_scheme=theme
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    troubles: list[str] = []
    hosts: set[str] = set()

    def heard(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            troubles.append(message.text)

    def asked(request: Request) -> None:
        hosts.add(request.url.split("/")[2].split(":")[0])

    def failed(error: Error) -> None:
        troubles.append(str(error))

    page.on("pageerror", failed)
    page.on("console", heard)
    page.on("request", asked)
    try:
        yield page
    finally:
        context.close()
    assert troubles == []
    assert hosts == {"127.0.0.1"}


def drawn(page: Page, view: str) -> None:
    """Wait until a view is complete."""
    if view == "overview":
        expect(page.locator("#row-x .spark .line")).to_have_count(1)
    if view in ("service", "outage"):
        expect(page.locator("#chart canvas")).to_be_visible()
        expect(page.locator("#multiples svg path.line")).to_have_count(8)


def mark(page: Page) -> None:
    """Leave something on the page that does not outlive a reload."""
    page.evaluate("window.seen = true")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.seen === true"))


# Live


def test_the_outage_is_followed_from_quiet_to_cleared_by_what_the_page_says(chromium: Browser, tmp_path: Path) -> None:
    facts = outage_of_x()[1]
    quiet, begun = until_it("is quiet"), until_it("goes on")
    with web_server(tmp_path, facts[:quiet]) as server, visit(chromium) as page:
        page.goto(server.address)
        mark(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("No outage is known")
        expect(page.locator("#row-x")).to_contain_text("Normal")
        server.enter(facts[quiet:begun])
        expect(page.get_by_role("heading", level=1)).to_have_text("1 outage is going on")
        expect(page.locator("#row-x .state")).to_have_text("Outage")
        expect(page.locator("#row-x .what")).to_contain_text("reports in 15 minutes in the United States")
        expect(page.locator("#row-x .what")).to_contain_text("since 14:01, worst in the United States")
        server.enter(facts[begun:])
        expect(page.get_by_role("heading", level=1)).to_have_text("No outage is known")
        expect(page.locator("#row-x .state")).to_have_text("Normal")
        assert is_marked(page)
        page.get_by_role("link", name="x", exact=True).click()
        expect(page.locator(".timeline .state").first).to_have_text("Cleared")
        page.locator(".past a").first.click()
        expect(page.locator("#facts")).to_contain_text("25,800")
        expect(page.locator("#lead .state")).to_have_text("Over")


def test_after_a_restart_of_the_server_the_page_goes_on_without_reload_or_gap(
    chromium: Browser, tmp_path: Path
) -> None:
    facts = outage_of_x()[1]
    quiet, begun = until_it("is quiet"), until_it("goes on")
    with web_server(tmp_path, facts[:quiet]) as server, visit(chromium) as page:
        page.goto(f"{server.address}/services/x")
        drawn(page, "service")
        mark(page)
        server.stop()
        expect(page.get_by_role("status")).to_contain_text("The connection is lost")
        server.enter(facts[quiet:begun])
        server.start()
        expect(page.get_by_role("status")).to_be_empty()
        expect(page.locator("#lead .state")).to_have_text("Outage")
        page.locator("#chart-table summary").click()
        shown = page.locator("#chart-table tbody time")
        until(lambda: shown.count() == 60, "an hour is in the table, bin by bin")
        times = [each.get_attribute("datetime") for each in shown.all()]
        assert len(set(times)) == 60
        assert is_marked(page)


def test_of_many_services_those_that_change_are_brought_up_to_date(chromium: Browser, tmp_path: Path) -> None:
    names = [f"service-{number:03}" for number in range(130)]
    with web_server(tmp_path, [level(name, 0, "normal", 2) for name in names]) as server, visit(chromium) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.address)
        expect(page.locator("body[data-updated]")).to_be_attached()
        page.evaluate("for (const row of document.querySelectorAll('.row')) row.seen = true")
        server.enter([level(name, 1, "open" if name == "service-100" else "normal", 3) for name in names])
        first = page.locator(".row").first
        expect(first).to_have_attribute("data-service", "service-100")
        expect(first.locator(".state")).to_have_text("Outage")
        expect(page.locator(".chip", has_text="Outage")).to_be_visible()
        expect(page.locator(".chip", has_text="Learning")).to_be_hidden()
        figures = page.locator(".row .figure b")
        until(lambda: set(figures.all_text_contents()) == {"45"}, "all rows say the new figure, also out of sight")
        shown = page.eval_on_selector_all(
            ".row", "rows => rows.map(each => [each.dataset.service, each.seen === true])"
        )
        assert shown == [["service-100", False], *([name, True] for name in names if name != "service-100")]
        server.enter([level(name, 2, "normal", 2) for name in [*names, "a-new-one"]])
        until(lambda: page.locator(".row").count() == 131, "the new service is there")
        order = page.eval_on_selector_all(".row", "rows => rows.map(each => each.dataset.service)")
        assert order == sorted([*names, "a-new-one"])
        assert page.locator(".group").count() == 7
        lines = [each for each in asked if "/sparklines" in each]
        assert lines
        assert all("service=service-129" not in each for each in lines)
        assert all("/api/v1/services" not in each for each in asked)
        assert len([each for each in asked if each.rstrip("/") == server.address]) == 1


def test_data_that_are_old_are_said_to_be(chromium: Browser, tmp_path: Path) -> None:
    with web_server(tmp_path, outage_of_x()[1]) as server, visit(chromium) as page:
        server.health = ("stale", "no newer level for 312 s", 312.0)
        page.goto(server.address)
        expect(page.get_by_role("status")).to_contain_text("Stale")


# What is not known


def test_the_page_of_no_service_says_what_to_do_until_there_is_one(chromium: Browser, tmp_path: Path) -> None:
    with web_server(tmp_path, []) as server, visit(chromium) as page:
        page.goto(server.address)
        expect(page.get_by_role("heading", level=1)).to_have_text("No service is watched yet")
        expect(page.locator(".steps")).to_contain_text("tocsin worker")
        expect(page.get_by_role("searchbox")).to_be_hidden()
        axe_finds_nothing(page)
        expect(page.locator("body[data-updated]")).to_be_attached()
        server.enter([level("a", 0, "learning", 2)])
        expect(page.locator(".row")).to_have_count(1)
        expect(page.get_by_role("searchbox")).to_be_visible()


def test_a_chart_shows_where_reports_were_missing(chromium: Browser, tmp_path: Path) -> None:
    seen = [level("a", number, "normal", 2) for number in range(30)]
    with web_server(tmp_path, seen) as server, visit(chromium) as page:
        page.goto(f"{server.address}/services/a")
        expect(page.locator("#chart canvas")).to_be_visible()
        expect(page.locator("#chart-note")).to_be_hidden()
        server.enter([level("a", number, "sensor-lost", 0) for number in range(30, 40)])
        expect(page.locator("#chart-note")).to_contain_text("Hatched")
        axe_finds_nothing(page)


def test_the_legend_leaves_out_what_is_not_known(chromium: Browser, tmp_path: Path) -> None:
    with web_server(tmp_path, [level("a", number, "learning", 2) for number in range(30)]) as server:
        with visit(chromium) as page:
            page.goto(f"{server.address}/services/a")
            legend = page.locator("#chart .u-legend .u-series:visible")
            expect(legend).to_have_text([re.compile("Time"), re.compile("Reports in 15 minutes.*30")])
        server.enter([level("a", number, "normal", 2) for number in range(30, 40)])
        with visit(chromium) as page:
            page.goto(f"{server.address}/services/a")
            expect(page.locator("#chart .u-legend .u-series:visible")).to_have_count(3)


# For everybody


def axe_finds_nothing(page: Page) -> None:
    """Look for everything that axe knows."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", list(read_languages()))
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(
    chromium: Browser, over: WebServer, view: str, language: str, theme: Literal["light", "dark"]
) -> None:
    with visit(chromium, language=language, theme=theme) as page:
        page.goto(over.address + VIEWS[view])
        drawn(page, view)
        if view in ("service", "outage"):
            page.locator("#chart-table summary").click()
        page.evaluate(AXE.read_text())
        found = page.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        )
        troubles = {each["id"]: [node["html"] for node in each["nodes"]] for each in found["violations"]}
        assert troubles == {}


def test_axe_finds_nothing_while_an_outage_goes_on(chromium: Browser, tmp_path: Path) -> None:
    facts = outage_of_x()[1][: until_it("goes on")]
    with web_server(tmp_path, facts) as server:
        for theme in ("light", "dark"):
            with visit(chromium, theme=theme) as page:
                page.goto(server.address)
                drawn(page, "overview")
                axe_finds_nothing(page)


@pytest.mark.parametrize("language", list(read_languages()))
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_small_phone(chromium: Browser, over: WebServer, view: str, language: str) -> None:
    with visit(chromium, width=320, height=640, language=language) as page:
        page.goto(over.address + VIEWS[view])
        drawn(page, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_keyboard_reaches_content_and_services(chromium: Browser, over: WebServer) -> None:
    with visit(chromium) as page:
        page.goto(over.address)
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to the content")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_attribute("name", "q")
        page.keyboard.type("x")
        page.wait_for_url("**/?q=x")
        while page.evaluate("document.activeElement.closest('.row')") is None:
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/services/x")


def test_search_and_filter_are_kept_in_the_address(chromium: Browser, over: WebServer) -> None:
    with visit(chromium) as page:
        page.goto(over.address)
        page.get_by_role("searchbox").fill("nothing")
        expect(page.locator("#empty")).to_have_text("No service matches.")
        page.wait_for_url("**/?q=nothing")
        page.reload()
        expect(page.get_by_role("searchbox")).to_have_value("nothing")
        page.get_by_role("searchbox").fill("")
        expect(page.locator("#row-x")).to_be_visible()


def test_times_are_in_the_zone_of_the_viewer_and_utc_on_hover(chromium: Browser, over: WebServer) -> None:
    with visit(chromium) as page:
        page.goto(over.address + VIEWS["outage"])
        began = page.locator("#region-table tbody tr").first.locator("time").nth(1)
        expect(began).to_have_text("14:02")
        expect(began).to_have_attribute("title", "24 May 2025, 12:02 UTC")


@pytest.mark.parametrize("view", ["service", "outage"])
def test_the_table_of_a_chart_holds_what_the_chart_shows(chromium: Browser, over: WebServer, view: str) -> None:
    with visit(chromium) as page:
        page.goto(over.address + VIEWS[view])
        drawn(page, view)
        page.locator("#chart-table summary").click()
        expect(page.locator("#chart-table tbody tr")).not_to_have_count(0)
        newest = page.locator("#chart-table tbody tr").first
        legend = page.locator("#chart .u-legend .u-value")
        figures = legend.all_inner_texts()
        column = -1 if view == "service" else 1
        assert newest.locator("th").inner_text() == figures[0]
        assert newest.locator("td").first.inner_text() == figures[column]


def test_regions_are_drawn_on_one_scale(chromium: Browser, over: WebServer) -> None:
    with visit(chromium) as page:
        page.goto(over.address + VIEWS["outage"])
        drawn(page, "outage")
        heights = page.eval_on_selector_all("#multiples path.line", "all => all.map(each => each.getBBox().height)")
        peaks = page.eval_on_selector_all(
            "#multiples .figure", "all => all.map(each => Number(each.textContent.replace(/,/g, '')))"
        )
        assert peaks == sorted(peaks, reverse=True)
        for height, peak in zip(heights, peaks, strict=True):
            assert height == pytest.approx(heights[0] * peak / peaks[0], abs=1)
