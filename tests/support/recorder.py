"""A stage that only notes what the transport does with it, in an app of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from streams.chunks import Chunk
from streams.settings import Settings
from streams.stageapp import StageApp, stage_app
from streams.transport import CommitPoint, Committed


@dataclass
class Life:
    """One assignment: what the stage was told, where it began, what it read."""

    known: dict[TP, Committed]
    begun: dict[TP, int]
    chunks: dict[TP, list[Chunk]] = field(default_factory=lambda: defaultdict(list))
    over: bool = False

    def position(self, tp: TP) -> int:
        chunks = self.chunks[tp]
        return chunks[-1].end if chunks else self.begun[tp]


class Recorder:
    """Reads from `begin`, else from where it has committed, else from the start of the log; commits on demand."""

    def __init__(self, begin: Mapping[TP, int] = {}, pause_s: float = 0.0) -> None:
        self.begin = dict(begin)
        #: How long each chunk keeps the agent, so that others have to wait in its queue.
        self.pause_s = pause_s
        self.lives: list[Life] = []
        self.offered: dict[TP, CommitPoint] = {}
        self.accepted: dict[TP, CommitPoint] = {}
        #: Set when its app is told to stop: what comes after that is not noted.
        self.closed = False
        #: Chunks that came although they must not be used.
        self.void: list[Chunk] = []
        #: What was wrong with the order of chunks; must stay empty.
        self.discontinuities: list[str] = []

    async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
        begun = {
            tp: self.begin.get(tp, known.log_start if known.offset is None else known.offset)
            for tp, known in assigned.items()
        }
        if not self.closed:
            self.lives.append(Life(dict(assigned), begun))
        return begun

    def stop(self) -> None:
        self.offered = {}
        if self.lives and not self.closed:
            self.lives[-1].over = True

    def commit_points(self) -> Mapping[TP, CommitPoint]:
        return dict(self.offered)

    async def committed(self, points: Mapping[TP, CommitPoint]) -> None:
        self.accepted.update(points)
        self.offered = {tp: point for tp, point in self.offered.items() if points.get(tp) != point}

    def troubles(self, now_s: float) -> list[str]:
        return [f"asked at {now_s}"]

    def take(self, chunk: Chunk) -> None:
        if self.closed:
            return
        life = self.lives[-1]
        if life.over or chunk.tp not in life.begun:
            self.discontinuities.append(f"{chunk.tp} is not assigned")
        elif chunk.start != life.position(chunk.tp):
            self.discontinuities.append(f"{chunk.tp}: at {life.position(chunk.tp)}, then a chunk from {chunk.start}")
        life.chunks[chunk.tp].append(chunk)

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks of the present assignment, partition by partition."""
        return [chunk for chunks in self.lives[-1].chunks.values() for chunk in chunks] if self.lives else []

    @property
    def values(self) -> list[bytes | None]:
        """The values of these chunks."""
        return [value for chunk in self.chunks for value in chunk.values]

    def at(self, tp: TP) -> int:
        """Return up to where a partition has been read; -1 while it is not assigned."""
        if not self.lives or self.lives[-1].over or tp not in self.lives[-1].begun:
            return -1
        return self.lives[-1].position(tp)


@asynccontextmanager
async def recording(settings: Settings, topic: str, recorder: Recorder, **conf: Any) -> AsyncIterator[StageApp]:
    """Run an app that gives the chunks of a topic to a recorder; its consumer group is `<prefix>-recorder`."""
    app = stage_app(settings, "recorder")
    app.stage = recorder
    for name, value in conf.items():
        setattr(app.conf, name, value)

    @app.agent(app.chunks(topic), name="recorder")
    async def agent(chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            if app.is_current(chunk):
                recorder.take(chunk)
                await asyncio.sleep(recorder.pause_s)
            else:
                recorder.void.append(chunk)

    await app.start()
    try:
        yield app
    finally:
        recorder.closed = True
        await app.stop()
