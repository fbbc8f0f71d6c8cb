"""What the stages of one parent say of themselves, gathered from the Unix sockets that they serve."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest

from streams.metrics import ParentMetrics, ProcessMetrics, merge

#: How long a stage may take to answer; Prometheus itself waits ten seconds by default.
ANSWER_S = 1.0
#: Requests at a time for each stage: one that hangs must not keep the next from being made.
_REQUESTS = 4


class Answer(NamedTuple):
    """What a stage has answered."""

    status: int
    text: str


class Gathering:
    """Asks all stages at once; one that does not answer in time is missing, and the others are there.

    Parameters
    ----------
    sockets
        The Unix socket of each stage.
    metrics, registry
        The parent's own metrics, and where they are registered.
    """

    def __init__(self, sockets: Mapping[str, Path], metrics: ParentMetrics, registry: CollectorRegistry) -> None:
        self._sockets = dict(sockets)
        self._own = metrics
        self._registry = registry
        ProcessMetrics(registry, "parent")
        self._pool = ThreadPoolExecutor(_REQUESTS * len(self._sockets), thread_name_prefix="gathering")

    def metrics(self) -> bytes:
        """Return the metrics of the parent and of all stages that answer, in Prometheus' text format."""
        answers = self._ask("/metrics")
        for stage in self._sockets:
            self._own.up(stage, stage in answers)
        own = generate_latest(self._registry).decode()
        return merge([own, *(answer.text for answer in answers.values())]).encode()

    def troubles(self) -> list[str]:
        """Return why a stage is not ready, one line each."""
        answers = self._ask("/readyz")
        troubles = []
        for stage in self._sockets:
            if stage not in answers:
                troubles.append(f"{stage}: the process does not answer")
            elif answers[stage].status != 200:
                troubles += answers[stage].text.splitlines()
        return troubles

    def _ask(self, target: str) -> dict[str, Answer]:
        """Return the answers of the stages that have given one in time."""
        asked = {stage: self._pool.submit(_ask, path, target) for stage, path in self._sockets.items()}
        wait(asked.values(), ANSWER_S)
        answers = {stage: future.result() for stage, future in asked.items() if future.done()}
        return {stage: answer for stage, answer in answers.items() if answer is not None}


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def _ask(path: Path, target: str) -> Answer | None:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
