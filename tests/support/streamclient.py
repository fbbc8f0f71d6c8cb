"""A client of the stream: parses server-sent events, and keeps what they tell, as the page does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    data: Any
    id: str | None


def events(text: str) -> list[Event]:
    """Return the whole events of a stretch of a stream; comments and `retry` are none."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n")[:-1]:
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        if "data" in fields:
            id_ = fields["id"][-1] if "id" in fields else None
            found.append(Event(fields["event"][-1], json.loads("\n".join(fields["data"])), id_))
    return found


@dataclass
class Known:
    """What a client knows: newer documents replace older ones, so events may come twice and nothing is lost by that."""

    last_id: str | None = None
    resets: int = 0
    services: dict[str, Any] = field(default_factory=dict)
    levels: dict[tuple[str, int], Any] = field(default_factory=dict)
    transitions: dict[tuple[str, int], Any] = field(default_factory=dict)
    outages: dict[str, Any] = field(default_factory=dict)
    statuses: list[Any] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Take in an event."""
        self.last_id = event.id or self.last_id
        match event.name:
            case "services":
                for service in event.data["services"]:
                    known = self.services.get(service["service"])
                    if known is None or known["end_ms"] <= service["end_ms"]:
                        self.services[service["service"]] = service
            case "levels":
                self.levels[event.data["service"], event.data["end_ms"]] = event.data
            case "incident":
                self.transitions[event.data["id"], event.data["sequence"]] = event.data
            case "outage":
                known = self.outages.get(event.data["id"])
                if known is None or known["sequence"] <= event.data["sequence"]:
                    self.outages[event.data["id"]] = event.data
            case "status":
                self.statuses.append(event.data)
            case "reset":
                self.resets += 1

    def take_all(self, text: str) -> None:
        """Take in a stretch of a stream."""
        for event in events(text):
            self.take(event)

    @property
    def told(self) -> tuple[Any, ...]:
        """All that is known of the data."""
        return self.services, self.levels, self.transitions, self.outages
