"""The console channel: one line of text per alert."""

from __future__ import annotations

from typing import TextIO

from streams.events import Alert, instant


class Console:
    """Writes alerts to a stream, usually standard output.

    Parameters
    ----------
    stream
        Where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    async def send(self, alert: Alert) -> None:
        """Write one line."""
        self._stream.write(f"{instant(alert.at_ms)} {alert.kind.upper():8} {alert.text}\n")
        self._stream.flush()
