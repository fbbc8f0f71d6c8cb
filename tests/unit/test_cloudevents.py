"""Incidents, outages and alerts are CloudEvents; the same record always has the same headers."""

from __future__ import annotations

import pytest

from streams.cloudevents import headers
from streams.events import Alert, Incident, Outage, decode, encode
from tests.support.scenarioruns import golden
from tests.support.schemas import validator

X = golden("x-2025-05-24")


def of(event: Incident | Outage | Alert) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in headers(event, "tocsin.events")}


def test_an_incident_that_opens() -> None:
    opened = X.of("US")[0]
    assert of(opened) == {
        "ce_specversion": "1.0",
        "ce_id": "x.US.20250524T1202Z/1",
        "ce_source": "/tocsin.events",
        "ce_type": "tocsin.incident.opened",
        "ce_time": "2025-05-24T12:03:00.000Z",
        "ce_subject": "x/US",
        "content-type": "application/json",
    }


def test_every_transition_has_a_type_of_its_own() -> None:
    names = {each.transition: of(each)["ce_type"] for each in X.incidents}
    assert names == {transition: f"tocsin.incident.{transition}" for transition in names}
    assert {"opened", "grew", "cleared"} <= names.keys()


def test_an_outage_opens_changes_and_ends() -> None:
    types = [of(outage)["ce_type"].rpartition(".")[2] for outage in X.outages if outage.service == "x"]
    assert types[0] == "opened"
    assert set(types[1:-1]) == {"changed"}
    assert types[-1] == "cleared"
    assert {of(outage)["ce_subject"] for outage in X.outages} == {outage.service for outage in X.outages}


@pytest.mark.parametrize("kind", ["opened", "unknown"])
def test_an_alert_is_named_by_the_fact_that_caused_it(kind: str) -> None:
    alert = Alert(
        id="x.US.20250524T1202Z/1",
        kind=kind,  # type: ignore[arg-type]  # one of its literals
        service="x",
        region="US",
        incident="x.US.20250524T1202Z",
        at_ms=1_748_088_180_500,
        text="",
        peak=1,
        window=1,
    )
    found = of(alert)
    assert (found["ce_id"], found["ce_type"]) == (alert.id, f"tocsin.alert.{kind}")
    assert found["ce_time"] == "2025-05-24T12:03:00.500Z"
    validator("event.headers.json").validate(found)


def test_the_headers_follow_from_the_bytes_of_the_record() -> None:
    for incident in X.incidents:
        assert headers(decode(encode(incident), Incident), "t") == headers(incident, "t")
        validator("event.headers.json").validate(of(incident))
    for outage in X.outages:
        assert headers(decode(encode(outage), Outage), "t") == headers(outage, "t")
        validator("event.headers.json").validate(of(outage))


def test_an_id_is_there_once_within_a_source() -> None:
    for events in (X.incidents, X.outages):
        names = [of(each)["ce_id"] for each in events]
        assert len(set(names)) == len(names) > 5
