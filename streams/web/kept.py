"""Answers that many ask for: each is made once a revision, and the last ones are kept, with tags of their content."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

#: What is kept may take so much; a page of 1,000 services takes half a megabyte.
MOST_BYTES = 32 << 20


class Made(NamedTuple):
    """A body, and what its headers say of it."""

    body: bytes
    headers: Mapping[str, str] = {}


class Kept:
    """Makes what is asked for, but once for all who ask for the same, and keeps the last ones.

    Parameters
    ----------
    most_bytes
        How much all that is kept may take.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = Lock()
        self._made: OrderedDict[Hashable, Future[Made]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what is kept under a key, or what `make` returns.

        Whoever asks while it is being made waits for it. What `make` raises is raised to all of them, and not kept.
        """
        with self._lock:
            known = self._made.get(key)
            if known is None:
                own = self._made[key] = Future()
            else:
                self._made.move_to_end(key)
        if known is not None:
            return known.result()
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._made[key]
            own.set_exception(error)
            raise
        # the tag is worked out once too
        made = with_tag(made)
        own.set_result(made)
        with self._lock:
            self._bytes += len(made.body)
            self._forget()
        return made

    def _forget(self) -> None:
        """Forget what was asked for the longest ago, but nothing that is still being made."""
        for key in [key for key, each in self._made.items() if each.done()]:
            if self._bytes <= self._most_bytes:
                return
            self._bytes -= len(self._made.pop(key).result().body)


def with_tag(made: Made) -> Made:
    """Return what was made with a tag of its content."""
    # weak, for the same content may come compressed
    tag = f'W/"{hashlib.sha256(made.body).hexdigest()[:32]}"'
    return Made(made.body, {**made.headers, "etag": tag})


def tagged(request: Request, made: Made, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return an answer that has a tag, or that the content is known."""
    own = {**headers, **made.headers, "cache-control": "no-cache"}
    if _is_known(own["etag"], request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers=own)
    return Response(made.body, headers=own, media_type=media_type)


def _is_known(tag: str, told: Iterable[str]) -> bool:
    known = [each.strip() for line in told for each in line.split(",")]
    return "*" in known or any(each.removeprefix("W/") == tag.removeprefix("W/") for each in known)
