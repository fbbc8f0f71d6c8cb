"""`tocsin` as a process of its own: what it says, what its health server answers, how it ends."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import until

_numbers = itertools.count()


class Process:
    """`tocsin` with settings of the command line, as a process in an empty folder."""

    def __init__(self, folder: Path, *arguments: str, **settings: object) -> None:
        self.log = folder / f"tocsin-{next(_numbers)}.log"
        options = [f"--set={key.replace('__', '.')}={value}" for key, value in settings.items()]
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TOCSIN_") and name != "KAFKA_BOOTSTRAP_SERVERS"
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", *options, *arguments],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=variables,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{") and line.endswith("}")]

    def errors(self) -> list[str]:
        """Return what it has said in error, the reason where there is one."""
        return [event.get("reason", event["event"]) for event in self.events if event["level"] == "error"]

    def exit_code(self) -> int:
        """Return how it ends by itself, without a traceback."""
        code = self.process.wait(60)
        assert "Traceback" not in self.said, self.said
        return code

    def get(self, path: str) -> tuple[int, str]:
        """Ask its health server."""
        [port] = until(
            lambda: [each["http_port"] for each in self.events if "http_port" in each], "the worker starts", 60
        )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.said
        return self.get("/readyz") == (200, "ready\n")


@contextmanager
def processes(folder: Path) -> Iterator[Callable[..., Process]]:
    """Yield what starts such processes; they end with the context."""
    started: list[Process] = []

    def start(*arguments: str, **settings: object) -> Process:
        started.append(Process(folder, *arguments, **settings))
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            each.process.kill()
            each.process.wait()
