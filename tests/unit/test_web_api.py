"""The API answers as its OpenAPI document says, and as people and caches expect."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from httpx2 import Response
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from streams.web import openapi
from streams.web.api import OPERATIONS
from streams.web.headers import HEADERS
from tests.support.webapp import WebApp, web_app

ROOT = Path(__file__).parents[2]
OUTAGE = "x.20250524T1201Z"
INCIDENT = "x.US.20250524T1202Z"
ATOM = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture(scope="module")
def client(web: WebApp) -> TestClient:
    # without the context: nothing here is told by the stream
    return TestClient(web.app, base_url="http://status.example")


def filled(path: str) -> str:
    return path.replace("{service}", "x").replace("{id}", INCIDENT if "/incidents/" in path else OUTAGE)


def get(client: TestClient, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def schema(name: str) -> Draft202012Validator:
    document = openapi.document()
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def assert_problem(response: Response, status: int, *words: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    schema("Problem").validate(problem)
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]


# What it says of itself


def test_the_committed_document_is_that_of_the_code() -> None:
    assert (ROOT / "schemas" / openapi.FILE).read_text() == openapi.text()


def test_the_document_is_served_and_lists_every_operation(client: TestClient) -> None:
    served = get(client, openapi.PATH)
    assert served == json.loads(openapi.text())
    assert {each.path for each in OPERATIONS} | {"/api/v1/stream"} == set(served["paths"])


def test_every_schema_of_the_document_is_one() -> None:
    for name in openapi.document()["components"]["schemas"]:
        Draft202012Validator.check_schema(schema(name).schema)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_every_answer_is_what_the_document_says(client: TestClient, operation: Any) -> None:
    response = client.get(filled(operation.path))
    assert response.status_code == 200, response.text
    if isinstance(operation.gives, str):
        assert response.headers["content-type"].partition(";")[0] == operation.gives
        return
    assert response.headers["content-type"] == "application/json"
    schema(operation.gives.__name__).validate(response.json())


# Caches


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.cached], ids=lambda each: str(each.name))
def test_what_is_known_by_its_tag_is_not_sent_again(client: TestClient, operation: Any) -> None:
    path = filled(operation.path)
    first = client.get(path)
    for tag in (first.headers["etag"], f'"another", {first.headers["etag"]}', "*", first.headers["etag"][2:]):
        again = client.get(path, headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert client.get(path, headers={"if-none-match": 'W/"another"'}).content == first.content


def test_how_current_everything_is_is_never_kept(client: TestClient) -> None:
    assert client.get("/api/v1/status").headers["cache-control"] == "no-store"


def test_long_answers_come_compressed_where_that_is_understood(client: TestClient) -> None:
    path = "/api/v1/services/x/levels?range=24h"
    assert client.get(path, headers={"accept-encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get(path, headers={"accept-encoding": "identity"}).headers


# Errors


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/outages?limit=0", ["limit", "1", "500"]),
        ("/api/v1/outages?limit=many", ["limit", "whole number"]),
        ("/api/v1/outages?limit=5&limit=6", ["limit", "2 times"]),
        ("/api/v1/outages?since=yesterday", ["since", "whole number"]),
        ("/api/v1/outages?state=closed", ["state", "open, cleared, unknown"]),
        ("/api/v1/outages?service=X", ["service", "must match"]),
        ("/api/v1/outages?cursor=nonsense", ["cursor", "must match"]),
        ("/api/v1/outages?colour=red", ["colour", "cursor, limit, region"]),
        ("/api/v1/status?verbose=1", ["verbose", "there are none"]),
        ("/api/v1/services/x/levels?range=2h", ["range", "15m, 1h, 24h, 7d"]),
        ("/api/v1/services/x/levels?region=U%20S", ["region", "must match"]),
        ("/api/v1/services?q=" + "a" * 65, ["q", "64"]),
        ("/api/v1/stream?after=yesterday", ["after"]),
    ],
)
def test_a_question_that_cannot_be_answered_names_its_parameter(
    client: TestClient, path: str, words: list[str]
) -> None:
    assert_problem(client.get(path), 400, *words)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/services/nothing", ["nothing"]),
        ("/api/v1/services/nothing/levels", ["nothing"]),
        ("/api/v1/services/x/levels?region=ZZ", ["ZZ"]),
        ("/api/v1/incidents/x.US.20250101T0000Z", ["x.US.20250101T0000Z"]),
        ("/api/v1/outages/x.20250101T0000Z", ["x.20250101T0000Z"]),
        ("/api/v1/outages/x.20250101T0000Z.csv", ["x.20250101T0000Z"]),
        ("/api/v1/nothing", ["nothing at this address"]),
    ],
)
def test_what_is_not_there_is_named(client: TestClient, path: str, words: list[str]) -> None:
    assert_problem(client.get(path), 404, *words)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(client: TestClient, method: str) -> None:
    response = client.request(method, "/api/v1/outages")
    assert_problem(response, 405, method)
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_a_head_has_the_headers_and_no_body(client: TestClient) -> None:
    response = client.head("/api/v1/services")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["etag"] == client.get("/api/v1/services").headers["etag"]


def test_a_model_that_cannot_be_read_is_a_problem_and_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    with web_app(tmp_path) as web:
        web.model.path.rename(tmp_path / "away")
        assert_problem(TestClient(web.app).get("/api/v1/services"), 503, "cannot be read at the moment")


# Security


@pytest.mark.parametrize(
    "path", ["/api/v1/services", "/api/v1/nothing", "/livez", "/static/nothing", f"/api/v1/outages/{OUTAGE}.svg"]
)
def test_every_answer_tells_browsers_to_be_careful(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"])
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


# Pages of lists


@pytest.mark.parametrize("limit", [1, 3, 8, 50])
def test_pages_hold_each_incident_once_newest_first(client: TestClient, limit: int) -> None:
    everything = get(client, "/api/v1/incidents?limit=500")["incidents"]
    assert len(everything) >= 8
    assert everything == sorted(everything, key=lambda each: (each["opened_ms"], each["id"]), reverse=True)
    seen: list[Any] = []
    path: str | None = f"/api/v1/incidents?limit={limit}"
    while path is not None:
        response = client.get(path)
        page = response.json()
        assert len(page["incidents"]) <= limit
        seen += page["incidents"]
        path = response.links["next"]["url"] if "next" in response.links else None
        assert (path is None) == (page["next"] is None)
    assert seen == everything


def test_lists_hold_what_is_asked_for(client: TestClient) -> None:
    everything = get(client, "/api/v1/incidents?limit=500")["incidents"]
    middle_ms = sorted(each["opened_ms"] for each in everything)[len(everything) // 2]
    for query, wanted in {
        "region=US": [each for each in everything if each["region"] == "US"],
        "service=x": everything,
        "service=y": [],
        "state=open": [each for each in everything if each["state"] == "open"],
        "state=open&state=cleared": [each for each in everything if each["state"] in ("open", "cleared")],
        f"since={middle_ms}": [each for each in everything if each["opened_ms"] >= middle_ms],
        f"until={middle_ms}": [each for each in everything if each["opened_ms"] < middle_ms],
    }.items():
        assert get(client, f"/api/v1/incidents?limit=500&{query}")["incidents"] == wanted, query
    assert [each["id"] for each in get(client, "/api/v1/outages?region=US")["outages"]] == [OUTAGE]
    assert get(client, "/api/v1/outages?region=ZZ")["outages"] == []


def test_services_are_found_by_name_and_state(client: TestClient) -> None:
    (service,) = get(client, "/api/v1/services")["services"]
    assert [each["service"] for each in get(client, "/api/v1/services?q=X")["services"]] == ["x"]
    assert get(client, "/api/v1/services?q=y")["services"] == []
    assert get(client, f"/api/v1/services?state={service['state']}")["services"] == [service]
    assert get(client, "/api/v1/services?state=held")["services"] == []


# Levels


@pytest.mark.parametrize(
    ("query", "step_ms", "length"),
    [
        ("range=15m", 60_000, 15),
        ("", 60_000, 60),
        ("range=24h", 60_000, 1440),
        ("range=24h&step=quarter", 900_000, 96),
        ("range=7d", 900_000, 672),
    ],
)
def test_levels_are_columns_of_one_length(client: TestClient, query: str, step_ms: int, length: int) -> None:
    levels = get(client, f"/api/v1/services/x/levels?{query}&region=*")
    assert (levels["step_ms"], levels["length"]) == (step_ms, length)
    assert levels["end_ms"] - levels["start_ms"] == length * step_ms
    assert levels["regions"][0]["region"] == "_all"
    for region in levels["regions"]:
        assert {len(region[name]) for name in ("count", "window", "usual", "low", "high", "state")} == {length}
        for low, usual, high in zip(region["low"], region["usual"], region["high"], strict=True):
            assert low is None or low <= usual <= high


def test_the_highest_window_is_seen_in_bins_and_in_quarters(client: TestClient) -> None:
    for query in ("range=24h", "range=7d"):
        (us,) = get(client, f"/api/v1/services/x/levels?{query}&region=US")["regions"]
        assert max(each for each in us["window"] if each is not None) == 25_800
        assert us["raise_above"] == 750


def test_incidents_that_overlap_are_there_to_be_shaded(client: TestClient) -> None:
    assert get(client, "/api/v1/services/x/levels?range=15m")["incidents"] == []
    shades = get(client, "/api/v1/services/x/levels?range=24h&region=US")["incidents"]
    assert [each["id"] for each in shades] == [INCIDENT]


# Files, feed, summary


def test_the_csv_of_an_outage_holds_its_series(client: TestClient) -> None:
    response = client.get(f"/api/v1/outages/{OUTAGE}.csv")
    assert response.headers["content-disposition"] == f'attachment; filename="{OUTAGE}.csv"'
    lines = list(csv.DictReader(io.StringIO(response.text)))
    series = get(client, f"/api/v1/outages/{OUTAGE}/series")
    us = [line for line in lines if line["region"] == "US"]
    (own,) = [each for each in series["regions"] if each["region"] == "US"]
    assert [int(line["reports"]) for line in us] == [each for each in own["count"] if each is not None]
    assert us[0]["time"] == "2025-05-24T11:01:00Z"


def test_the_json_of_an_outage_holds_everything(client: TestClient) -> None:
    response = client.get(f"/api/v1/outages/{OUTAGE}.json")
    assert response.headers["content-disposition"] == f'attachment; filename="{OUTAGE}.json"'
    assert response.json() == {
        **get(client, f"/api/v1/outages/{OUTAGE}"),
        "series": get(client, f"/api/v1/outages/{OUTAGE}/series"),
    }


def test_the_picture_of_an_outage_says_what_a_newsroom_prints(client: TestClient) -> None:
    response = client.get(f"/api/v1/outages/{OUTAGE}.svg")
    picture = Xml.fromstring(response.text)
    words = " ".join(text for each in picture.iter() if (text := each.text))
    for wanted in ("25,800 reports in 15 min, United States", "4 h 8 min", "United Kingdom, Germany", "24 May 2025"):
        assert wanted in words
    (usual, reports) = [each.attrib["d"] for each in picture.iter("{http://www.w3.org/2000/svg}path")]
    assert reports.count("L") > 300
    assert usual


def test_the_feed_is_atom_with_an_entry_for_each_outage(client: TestClient) -> None:
    feed = Xml.fromstring(client.get("/outages.atom").text)
    (entry,) = feed.findall("a:entry", ATOM)
    assert [each.tag.partition("}")[2] for each in feed][:3] == ["id", "title", "updated"]
    assert entry.findtext("a:id", namespaces=ATOM) == f"http://status.example/outages/{OUTAGE}"
    assert entry.findtext("a:updated", namespaces=ATOM) == "2025-05-24T16:32:00Z"
    assert "25,800 reports in 15 min in United States" in str(entry.findtext("a:title", namespaces=ATOM))
    assert "Restored at 16:09 UTC, after 4 h 8 min." in str(entry.findtext("a:summary", namespaces=ATOM))


def test_links_begin_with_the_public_address(tmp_path: Path) -> None:
    with web_app(tmp_path, public_url="https://status.example.org/tocsin/") as web:
        feed = TestClient(web.app).get("/outages.atom").text
        assert f"https://status.example.org/tocsin/outages/{OUTAGE}" in feed
        assert "testserver" not in feed


def test_names_of_regions_come_in_the_language_asked_for(client: TestClient) -> None:
    names = {language: get(client, f"/api/v1/regions?lang={language}") for language in ("en", "ar", "pt-BR", "xx")}
    assert names["en"]["regions"]["US"] == "United States"
    assert names["ar"] == {**names["ar"], "language": "ar"}
    assert names["ar"]["regions"]["US"] == "الولايات المتحدة"
    assert names["pt-BR"]["language"] == "pt-BR"
    assert names["xx"] == names["en"]


# Probes


def test_it_is_ready_while_its_data_are_current_and_alive_in_any_case(tmp_path: Path) -> None:
    with web_app(tmp_path) as web:
        client = TestClient(web.app)
        assert client.get("/readyz").text == "ready\n"
        web.health = ("stale", "no newer level for 200 s", 200.0)
        response = client.get("/readyz")
        assert (response.status_code, response.text) == (503, "web: stale: no newer level for 200 s\n")
        assert client.get("/livez").status_code == 200
        assert get(client, "/api/v1/status")["state"] == "stale"
        # what is not known has no word in this shape
        assert_problem(client.get("/api/v2/summary.json"), 503, "no newer level for 200 s")


def test_requests_are_counted_by_route_however_many_addresses_there_are(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/api/v1/services/s{number}")
        client.get(f"/nothing/{number}")
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("tocsin_web_requests_total")]
    routes = {line.partition('route="')[2].partition('"')[0] for line in lines}
    assert routes <= {"none", "/static", *(each.path for each in OPERATIONS), "/openapi.json", "/livez", "/metrics"} | {
        "/api/v1/stream",
        "/readyz",
    }
