"""Waiting for conditions instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.05


def until(condition: Callable[[], T | None], what: str, seconds: float = 30.0) -> T:
    """Return what `condition` returns once it is true; fail with `what` if that takes longer than `seconds`."""
    deadline_s = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline_s, f"not within {seconds} s: {what}"
        time.sleep(_PAUSE_S)
    return result


async def eventually(condition: Callable[[], T | None], what: str, seconds: float = 30.0) -> T:
    """Do the same while other tasks of the event loop go on."""
    deadline_s = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline_s, f"not within {seconds} s: {what}"
        await asyncio.sleep(_PAUSE_S)
    return result


async def comes(ask: Callable[[], Awaitable[T | None]], what: str, seconds: float = 30.0) -> T:
    """Do the same with a condition that is to be awaited."""
    deadline_s = time.monotonic() + seconds
    while not (result := await ask()):
        assert time.monotonic() < deadline_s, f"not within {seconds} s: {what}"
        await asyncio.sleep(_PAUSE_S)
    return result
