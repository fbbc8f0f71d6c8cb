"""Telling everybody who listens what has changed: once worked out, sent to all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from streams.events import encode
from streams.metrics import WebMetrics
from streams.web import shapes
from streams.web.changes import Changes, Interest, Place, event

log = structlog.get_logger(__name__)

#: What may wait for one client. Those of one interest share the messages, so memory holds each once.
WAITING_MESSAGES = 64
WAITING_BYTES = 4 << 20
#: How long changes are gathered before they are told: what one bin brings arrives in several commits.
GATHER_S = 0.1
_STATUS_S = 1.0
_ANYTHING = Interest(brief=True)


@dataclass(slots=True, eq=False)
class Client:
    """One who listens."""

    interest: Interest
    waiting: deque[bytes] = field(default_factory=deque)
    waiting_bytes: int = 0
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def offer(self, message: bytes) -> bool:
        """Have a message wait for the client; return False if too much waits already.

        One that has ended misses it: what it has not been sent yet, it is sent when it comes again.
        """
        if self.ended:
            return True
        if len(self.waiting) >= WAITING_MESSAGES or self.waiting_bytes + len(message) > WAITING_BYTES:
            return False
        self.waiting.append(message)
        self.waiting_bytes += len(message)
        self.awake.set()
        return True

    def end(self) -> None:
        """Have nothing come any more; what waits is dropped, for the client resumes where it was."""
        self.ended = True
        self.waiting.clear()
        self.awake.set()


class Hub:
    """All who listen.

    Parameters
    ----------
    changes
        Tells what has changed.
    status
        Returns how current everything is.
    metrics
        Where clients are counted.
    most
        How many may listen.
    """

    def __init__(self, changes: Changes, status: Callable[[], shapes.Status], metrics: WebMetrics, most: int) -> None:
        self._changes = changes
        self._status = status
        self._metrics = metrics
        self._most = most
        self._clients: dict[Interest, set[Client]] = defaultdict(set)
        self._told = Place("", 0)
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def has_room(self) -> bool:
        """Whether one more may listen."""
        return not self._closed and sum(map(len, self._clients.values())) < self._most

    def changed(self) -> None:
        """Note that the read model has changed; from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed.set)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell what changes from now on, until the end of the context."""
        self._loop = asyncio.get_running_loop()
        # before anybody listens: what changes after the place that a client is told of is told to it
        self._told = await asyncio.to_thread(self._changes.here)
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.close()
            await task

    async def _run(self) -> None:
        said: tuple[str, str | None] | None = None
        while not self._closed:
            try:
                async with asyncio.timeout(_STATUS_S):
                    await self._changed.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._tell()
                status = await asyncio.to_thread(self._status)
            except sqlite3.OperationalError as error:
                log.warning("the read model cannot be read", reason=str(error))
                continue
            if said != (said := (status.state, _essence(status.reason))):
                self._offer_all(_said(status))

    def close(self) -> None:
        """End all streams, and take no other; the clients come again."""
        self._closed = True
        for client in [client for own in self._clients.values() for client in own]:
            client.end()
        self._changed.set()

    async def listen(self, interest: Interest, since: Place | None) -> AsyncIterator[bytes]:
        """Yield what a client is sent: how current everything is, what it has missed, and then what comes.

        Parameters
        ----------
        interest
            What it wants to be told.
        since
            What it knows already; None for nothing but what comes.
        """
        client = self._join(interest)
        try:
            yield b"retry: 2000\n\n" + _said(await asyncio.to_thread(self._status))
            # it has joined, so what changes after this answer waits for it; some of it may come twice
            _, now = await asyncio.to_thread(self._changes.now)
            missed = b"" if since is None else (await asyncio.to_thread(self._changes.since, since, interest))[1]
            yield missed or now
            while not client.ended:
                await client.awake.wait()
                client.awake.clear()
                while client.waiting:
                    message = client.waiting.popleft()
                    client.waiting_bytes -= len(message)
                    yield message
        finally:
            self._leave(client)

    def _join(self, interest: Interest) -> Client:
        client = Client(interest, ended=self._closed)
        self._clients[interest].add(client)
        self._metrics.streams.inc()
        return client

    def _leave(self, client: Client) -> None:
        own = self._clients[client.interest]
        own.discard(client)
        if not own:
            del self._clients[client.interest]
        self._metrics.streams.dec()

    async def _tell(self) -> None:
        """Tell what has changed since the last time to those whom it interests."""
        # the brief one first: it is short, and its place is asked for even where nobody listens
        interests = [_ANYTHING, *(each for each in list(self._clients) if each != _ANYTHING)]
        found = await asyncio.to_thread(lambda: [self._changes.since(self._told, each) for each in interests])
        for interest, (_, message) in zip(interests, found, strict=True):
            if message:
                self._offer(interest, message)
        # of the first question: later ones may have seen more, which is told once more
        self._told = found[0][0]

    def _offer(self, interest: Interest, message: bytes) -> None:
        for client in list(self._clients.get(interest, ())):
            if not client.offer(message):
                client.end()
                self._metrics.dropped.inc()
                log.info("a client reads too slowly and is cut off", service=interest.service)

    def _offer_all(self, message: bytes) -> None:
        for interest in list(self._clients):
            self._offer(interest, message)


def _said(status: shapes.Status) -> bytes:
    return event("status", encode(status))


def _essence(reason: str | None) -> str | None:
    """Return a reason without its numbers, which change all the time."""
    return None if reason is None else "".join(each for each in reason if not each.isdigit())
