"""Running a coroutine in a fresh process, so that its processor time and its memory are its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Result = TypeVar("Result")


class ChildError(Exception):
    """The process ended without a result; its standard error says why."""


def in_child(function: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
    """Return what `function(*arguments)` returns in a new process, which runs in a folder of its own.

    Raises
    ------
    ChildError
        If it returns nothing, because it raised or was killed.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        child = context.Process(target=_run, args=(folder, sending, function, arguments))
        child.start()
        sending.close()
        try:
            result: Result = receiving.recv()
        except EOFError:
            child.join()
            raise ChildError(f"{function.__name__} ended with exit code {child.exitcode}") from None
        finally:
            child.kill()  # a Faust worker has nothing to do any more, and an orderly stop takes long
            child.join()
    return result


def _run(
    folder: str, sending: Connection, function: Callable[..., Coroutine[Any, Any, Any]], arguments: tuple[Any, ...]
) -> None:
    os.chdir(folder)  # Faust makes a folder where it runs

    async def run() -> None:
        sending.send(await function(*arguments))

    asyncio.run(run())
