"""What the pages say, in the words of each language, as the server makes them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from starlette.testclient import TestClient

from streams.events import MINUTE_MS, Incident, IncidentState, LevelState, Outage, Transition, decode, encode
from streams.settings import Settings
from streams.web import pages
from streams.web.headers import CONTENT_SECURITY_POLICY
from streams.web.model import Fact
from streams.web.pages import sentences
from streams.web.pages.languages import FOLDER, Language, read_languages
from streams.web.pages.rendering import TEMPLATES
from streams.web.server import STATIC
from streams.web.shapes import Service, Worst
from tests.support.webapp import WebApp, web_app
from tests.support.webdata import LEVELS_START_MS, level, outage_of_x

OUTAGE = "x.20250524T1201Z"
VIEWS = ("/", "/services/x", "/services/x?range=7d", f"/outages/{OUTAGE}", "/history")
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{n\}")
TRANSLATED = [code for code in read_languages() if code != "en"]
VENDORED = sorted([*STATIC.glob("vendor/*"), *Path(__file__).parent.glob("vendor/*")])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture(scope="module")
def client(web: WebApp) -> TestClient:
    return TestClient(web.app)


def text_of(page: str) -> str:
    """Return what a page says, without its tags."""
    body = re.sub(r"<script.*?</script>", "", page[page.index("<main") :], flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def without_revision(page: str) -> str:
    return re.sub(r'data-after="[^"]*"', "", page)


# Answers


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("language", list(read_languages()))
def test_each_view_is_there_in_each_language(client: TestClient, view: str, language: str) -> None:
    answer = client.get(view, headers={"accept-language": language})
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}"' in answer.text


@pytest.mark.parametrize("view", VIEWS)
def test_no_page_asks_for_what_the_policy_forbids(client: TestClient, view: str) -> None:
    page = client.get(view).text
    assert not re.search(r'\sstyle="|<style|\son\w+="|javascript:', page)
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)


@pytest.mark.parametrize(
    ("view", "status"),
    [
        ("/services/nothing", 404),
        ("/outages/nothing", 404),
        ("/services/x?range=2h", 400),
        ("/?state=broken", 400),
        ("/history?state=broken", 400),
        ("/history?cursor=1", 400),
    ],
)
def test_what_is_not_there_or_asked_wrongly_is_a_page_too(client: TestClient, view: str, status: int) -> None:
    answer = client.get(view)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "Nothing here" in text_of(answer.text)


@pytest.mark.parametrize("view", ["/?q={}", "/history?service={}", "/history?region={}", "/services/{}", "/outages/{}"])
def test_what_is_asked_is_shown_as_text_and_never_as_markup(client: TestClient, view: str) -> None:
    page = client.get(view.format("%22%3E%3Cscript%3Ealert(1)")).text
    assert "<script>alert" not in page


def test_search_and_filter_leave_what_matches(client: TestClient) -> None:
    assert 'id="row-x"' in client.get("/?q=x&state=normal").text
    assert 'id="row-x"' not in client.get("/?q=y").text
    assert 'id="row-x"' not in client.get("/?state=open").text
    assert OUTAGE in client.get("/history?service=x&region=US&state=cleared").text
    assert OUTAGE not in client.get("/history?region=JP").text


def test_the_same_facts_give_the_same_pages(client: TestClient, tmp_path: Path) -> None:
    with web_app(tmp_path, []) as rebuilt:
        facts = outage_of_x()[1]
        rebuilt.enter(facts[:700])
        rebuilt.enter(facts[500:])
        again = TestClient(rebuilt.app)
        for view in VIEWS:
            assert without_revision(again.get(view).text) == without_revision(client.get(view).text)


# Languages


def test_the_address_beats_the_cookie_which_beats_the_browser(web: WebApp) -> None:
    def language(client: TestClient, view: str, accepted: str) -> str:
        found = re.search(r'<html lang="(\w+)"', client.get(view, headers={"accept-language": accepted}).text)
        assert found is not None
        return found[1]

    client = TestClient(web.app)
    assert language(client, "/", "fr, ar-EG;q=0.8, en;q=0.5") == "ar"
    assert language(client, "/", "fr") == "en"
    assert language(client, "/?lang=ar", "en") == "ar"
    assert language(client, "/", "en") == "ar"  # by the cookie of the answer before
    assert language(client, "/?lang=en", "ar") == "en"
    assert language(client, "/?lang=xx", "ar") == "en"


def messages() -> dict[str | tuple[str, ...], str]:
    """Return all messages of the code and the templates, and where each is."""
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None, "count": (1, 2)}
    templates = {"**.html": {"extensions": "jinja2.ext.i18n"}}
    code = extract_from_dir(Path(pages.__file__).parent, [("**.py", "python")], keywords=keywords)
    html = extract_from_dir(TEMPLATES, [("**.html", "jinja2")], templates, keywords)
    return {message: f"{file}:{line}" for file, line, message, _, _ in [*code, *html]}


def catalog(code: str) -> Catalog:
    with FOLDER.joinpath(f"{code}.po").open(encoding="utf-8") as file:
        return read_po(file)


@pytest.mark.parametrize("code", TRANSLATED)
def test_each_message_is_translated_with_all_that_is_filled_in(code: str) -> None:
    known = catalog(code)
    for message, place in messages().items():
        forms = (message,) if isinstance(message, str) else message
        found = known.get(forms[0])
        assert found is not None, f"{place}: {forms[0]!r} is not in {code}.po"
        said = (found.string,) if isinstance(found.string, str) else tuple(found.string or ())
        assert len(said) == (1 if len(forms) == 1 else known.num_plurals)
        asked = {name for form in forms for name in PLACEHOLDER.findall(form)}
        for form in said:
            assert form, f"{code}.po: {forms[0]!r} is empty"
            names = set(PLACEHOLDER.findall(form))
            # a form for no, one or two of something may do without the number
            assert names == asked or (len(forms) > 1 and asked - names == {"%(n)s"} and names <= asked), form


@pytest.mark.parametrize("code", TRANSLATED)
def test_no_message_is_left_that_nothing_says(code: str) -> None:
    said = {each if isinstance(each, str) else each[0] for each in messages()}
    ids = [each.id if isinstance(each.id, str) else each.id[0] for each in catalog(code) if each.id]
    assert [each for each in ids if each not in said] == []


def test_everything_has_a_word() -> None:
    assert sentences.STATES.keys() == set(get_args(LevelState))
    assert sentences.OUTAGE_STATES.keys() == set(get_args(IncidentState))
    assert sentences.TRANSITIONS.keys() == set(get_args(Transition))


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "لا بلاغات"), (1, "بلاغ واحد"), (2, "بلاغان"), (3, "٣ بلاغات"), (27, "٢٧ بلاغًا"), (25_800, "٢٥٬٨٠٠ بلاغ")],
)
def test_arabic_counts_in_six_forms_and_its_own_digits(number: int, said: str) -> None:
    assert read_languages()["ar"].reports(number) == said


# What is happening


def service(**changed: object) -> Service:
    usual: dict[str, object] = {
        "service": "x",
        "state": "open",
        "end_ms": 1_748_091_720_000,
        "count": 2412,
        "window": 31_200,
        "usual": 76.1,
        "ratio": 410.0,
        "regions": 14,
        "open_regions": 3,
        "learning_regions": 0,
        "since_ms": 1_748_088_120_000,
        "outage": OUTAGE,
        "worst": [
            Worst(region=region, window=window, usual=1.0, ratio=410.2)
            for region, window in (("US", 25_800), ("GB", 4000), ("DE", 900))
        ],
    }
    return Service(**{**usual, **changed})  # type: ignore[arg-type]


def said(own: Service, code: str = "en") -> str:
    return re.sub(r"<[^>]+>", "", sentences.happening(own, Language(code), Settings()))


def test_an_outage_is_told_in_one_sentence() -> None:
    assert said(service()) == (
        "25,800 reports in 15 minutes in the United States, 410 times the usual; since 12:02 UTC, "
        "worst in the United States, the United Kingdom and Germany."
    )


def test_without_a_baseline_there_is_no_multiple() -> None:
    worst = [Worst(region="DE", window=1, usual=None, ratio=None)]
    assert said(service(worst=worst)) == "1 report in 15 minutes in Germany; since 12:02 UTC."


def test_what_is_not_known_is_not_called_normal() -> None:
    quiet: dict[str, object] = {"since_ms": None, "outage": None, "worst": []}
    assert said(service(state="learning", **quiet)) == "Learning what is usual; nothing can be said yet."
    assert said(service(state="sensor-lost", **quiet)) == "No reports arrive from anywhere; nothing can be said."
    assert said(service(state="unobserved", **quiet)) == "Not known: reports of the last minutes may be missing."
    assert said(service(state="sensor-lost", worst=[])) == (
        "No reports arrive from anywhere; nothing can be said; the outage since 12:02 UTC has not been seen to end."
    )
    assert said(service(state="normal", learning_regions=1, **quiet)) == (
        "No more reports than usual; still learning in 1 region."
    )


def blind(web: WebApp, state: LevelState) -> str:
    """Return what the overview says where nothing can be known of any service, in the middle of an outage."""
    facts = outage_of_x()[1]
    opening = next(number for number, fact in enumerate(facts) if "outages" in fact.topic)
    web.enter(facts[: opening + 90])
    at_ms = web.site.query.counts()[0]
    assert at_ms is not None
    web.enter([level(name, (at_ms - LEVELS_START_MS) // MINUTE_MS + 1, state, 0) for name in ("a", "x", "z")])
    return text_of(TestClient(web.app).get("/").text)


@pytest.mark.parametrize(
    ("state", "heading"),
    [("sensor-lost", "No reports arrive from anywhere"), ("unobserved", "What happens now is not known")],
)
def test_where_nothing_is_known_of_any_service_no_outage_is_said_to_go_on(
    tmp_path: Path, state: LevelState, heading: str
) -> None:
    with web_app(tmp_path, []) as web:
        page = blind(web, state)
    assert f"{heading} 3 services are watched. 1 outage had not ended when reports were last complete." in page
    assert "going on" not in page
    assert page.index("the outage since") < page.index(" a ") < page.index(" z ")


def test_without_a_service_it_is_said_what_to_do(tmp_path: Path) -> None:
    with web_app(tmp_path, []) as web:
        page = text_of(TestClient(web.app).get("/").text)
    assert "No service is watched yet" in page
    assert "tocsin worker" in page
    assert "Write reports to the topic tocsin.reports , one a record" in page
    assert "No service matches" not in page


RULES = (
    *("raise", "grow", "incomplete", "silent", "complete", "clear_below", "clear_level", "clear_learning"),
    *("clear_score", "rebaselined", "sensor-lost", "unobserved", "superseded"),
)


@pytest.mark.parametrize("rule", RULES)
def test_the_reason_of_each_rule_is_told_in_each_language(client: TestClient, rule: str) -> None:
    (incident, *_) = client.get("/api/v1/incidents?region=US").json()["incidents"]
    own = decode(encode(incident), Incident)
    own = msgspec.structs.replace(own, decision=msgspec.structs.replace(own.decision, rule=rule))
    for code in TRANSLATED:
        told = str(sentences.reason(own, Language(code), Settings()))
        assert told != own.reason
        assert 'lang="en"' not in told


def test_a_reason_by_an_unknown_rule_is_told_in_english_and_marked(client: TestClient) -> None:
    (incident, *_) = client.get("/api/v1/incidents?region=US").json()["incidents"]
    own = decode(encode(incident), Incident)
    own = msgspec.structs.replace(own, decision=msgspec.structs.replace(own.decision, rule="later"), reason="<so>")
    assert sentences.reason(own, Language("ar"), Settings()) == '<span lang="en" dir="ltr">&lt;so&gt;</span>'


def test_what_raises_by_a_limit_alone_is_told_without_a_score(client: TestClient) -> None:
    (incident, *_) = client.get("/api/v1/incidents?region=US").json()["incidents"]
    own = decode(encode(incident), Incident)
    decision = msgspec.structs.replace(own.decision, rule="raise", score=None, expected=None, raise_above=750)
    told = str(sentences.reason(msgspec.structs.replace(own, decision=decision), Language("ar"), Settings()))
    assert Language("ar").number(750) in told
    assert "nbsr" not in told


def test_where_evidence_will_tell_the_end_the_regions_show_it(tmp_path: Path) -> None:
    facts = outage_of_x()[1]
    opening = next(number for number, fact in enumerate(facts) if "outages" in fact.topic)
    with web_app(tmp_path, facts[: opening + 90]) as web:
        client = TestClient(web.app)
        regions = client.get("/api/v1/services/x").json()["regions"]
        weighed = [each for each in regions if each["incident"] and each["clear_below"] is None]
        assert weighed
        assert all(each["clear_threshold"] is not None for each in weighed)
        page = text_of(client.get("/services/x").text)
        assert "Evidence for the end" in page
        shown = Language("en").number(weighed[0]["clear_score"], 1)
        assert f"{shown} of {Language('en').number(weighed[0]['clear_threshold'], 1)}" in page
        web.enter(facts[opening + 90 :])
        assert "Evidence for the end" not in text_of(client.get("/services/x").text)


def test_the_report_of_an_outage_holds_what_newsrooms_print(client: TestClient) -> None:
    page = text_of(client.get(f"/outages/{OUTAGE}").text)
    assert "x: outage of 24 May 2025" in page
    assert "Number of reports 25,800 in 15 minutes, United States" in page
    assert "Most affected United States, United Kingdom and Germany of 8 regions" in page
    outage = client.get(f"/api/v1/outages/{OUTAGE}").json()["outage"]
    assert f"Time to restore {Language('en').length(outage['time_to_restore_ms'])}" in page


def test_an_outage_that_goes_on_is_shown_with_the_figures_of_now(tmp_path: Path) -> None:
    facts = outage_of_x()[1]
    with web_app(tmp_path, []) as web:
        entered = 0
        while not (found := web.site.query.services().services) or found[0].window < 57_000:
            web.enter(facts[entered : entered + 5])
            entered += 5
        document = web.site.query.outage(OUTAGE).outage
        series = web.site.ranges.outage(document)
        highest = max(window for window in series.regions[0].window if window is not None)
        assert document.number_of_reports < highest
        page = text_of(TestClient(web.app).get(f"/outages/{OUTAGE}").text)
        assert f"Number of reports {highest:,} in 15 minutes, United States" in page


def test_a_correction_is_visible_as_one(tmp_path: Path) -> None:
    facts = outage_of_x()[1]
    last = [fact for fact in facts if fact.topic.endswith("outages")][-1]
    over = decode(last.value, Outage)
    assert over.state == "cleared"
    reopened = msgspec.structs.replace(
        over,
        sequence=over.sequence + 1,
        state="open",
        at_ms=over.at_ms + 600_000,
        restored_ms=None,
        time_to_restore_ms=None,
        peak_to_clear_ms=None,
    )
    with web_app(tmp_path) as web:
        web.enter([Fact(last.topic, last.partition, last.offset + 1, encode(reopened))])
        page = text_of(TestClient(web.app).get(f"/outages/{OUTAGE}").text)
    assert "Corrections" in page
    assert "it was said to be over; restored at 2025-05-24T16:09Z" in page
    assert "Time to restore Not restored yet" in page


# Files of others


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_vendored_files_are_those_that_were_published_and_have_their_licence(folder: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {each.name for each in folder.iterdir()} - {"SHA256SUMS"}
    assert "LICENSE" in sums
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
