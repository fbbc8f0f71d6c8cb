"""Telling people: alerts, and one file for each channel that they go out on."""

from typing import Protocol

from streams.events import Alert


class Channel(Protocol):
    """A way to reach people."""

    async def send(self, alert: Alert) -> None:
        """Deliver an alert; each alert id is given once, but for a crash in the wrong moment."""
