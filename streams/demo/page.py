"""The page of the demo: a `tocsin web` of its own, which ends with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from streams.settings import Settings

_HOST = "127.0.0.1"
_POLL_S = 0.1
_END_S = 15


class PageError(Exception):
    """The page cannot be shown; the message says why."""


class Page:
    """A process that shows what the demo's workers find out; a context manager.

    Parameters
    ----------
    command
        The command line of a process with the demo's settings; a command's name goes behind it.
    settings
        The demo's settings: the page gets their port, or any other if that is taken.
    folder
        Where its read model goes.
    output
        What takes its log.
    """

    def __init__(self, command: Sequence[str], settings: Settings, folder: Path, output: IO[Any]) -> None:
        port = _free_port(settings.web.port)
        #: Where people find it.
        self.url = f"http://{_HOST}:{port}/"
        own = {"web.host": _HOST, "web.port": str(port), "web.database": str(folder / "web.sqlite3")}
        assignments = [part for key, value in own.items() for part in ("--set", f"{key}={value}")]
        self._process = subprocess.Popen(
            [*command, *assignments, "web", "--end-with-parent"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, patience_s: float) -> None:
        """Return once it answers.

        Raises
        ------
        PageError
            If it ends, or does not answer for so long.
        """
        direct = build_opener(ProxyHandler({}))  # whatever proxy is set is not for ourselves
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s:
            code = self._process.poll()
            if code is not None:
                raise PageError(f"the page at {self.url} ended with {code}")
            try:
                with direct.open(f"{self.url}livez", timeout=_POLL_S * 10):
                    return
            except (URLError, TimeoutError, ConnectionError):
                time.sleep(_POLL_S)
        raise PageError(f"the page at {self.url} has not answered for {patience_s:.0f} s")

    def open(self) -> bool:
        """Show it in the user's browser, if there is a screen for one; return whether there is."""
        # without a screen the standard library would take a browser that draws into the terminal
        screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        return bool(screen) and webbrowser.open(self.url)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with closing(socket.socket()) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((_HOST, port))
            except OSError:
                continue
            found: int = tried.getsockname()[1]
            return found
    raise PageError(f"no port is free on {_HOST}")
