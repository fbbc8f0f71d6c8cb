"""The headers that make an incident, an outage or an alert a CloudEvent in Kafka's binary mode.

They follow from the record and its topic alone, so a fact that is stated again has the same headers again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streams.events import Alert, Incident, Outage

Headers = list[tuple[str, bytes | None]]

_UNIX_EPOCH = datetime.fromtimestamp(0, UTC)


def headers(event: Incident | Outage | Alert, topic: str) -> Headers:
    """Return the headers of a record.

    Parameters
    ----------
    event
        What the record's value holds.
    topic
        The topic it goes to: the source of the event, within which its id is unique.
    """
    moment = _UNIX_EPOCH + timedelta(milliseconds=event.at_ms)
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event.id if isinstance(event, Alert) else f"{event.id}/{event.sequence}",
        "ce_source": f"/{topic}",
        "ce_type": f"tocsin.{type(event).__name__.lower()}.{_change(event)}",
        "ce_time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce_subject": event.service if isinstance(event, Outage) else f"{event.service}/{event.region}",
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def _change(event: Incident | Outage | Alert) -> str:
    """Return what has happened, as the last part of the event's type."""
    match event:
        case Incident():
            return event.transition
        case Alert():
            return event.kind
        case _ if event.state != "open":
            return event.state
        case _:
            return "opened" if event.sequence == 1 else "changed"
