"""Programs that answer HTTP on loopback: a free port, starting one, waiting until it answers, asking it."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import until


def free_port() -> int:
    """Return a port that nothing listens on; another process could take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], url: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program from the time that `url` answers well until the end of the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            until(lambda: _answers(url) or process.poll() is not None, f"{url} answers; see {log}", 120)
            assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text()}"
            yield process
        finally:
            process.terminate()
            process.wait()


def get_json(url: str) -> Any:
    """Return the JSON document that `url` answers with, of an error too."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
