"""Targets for the tests of the fuzzer itself: two with a planted bug, and two that only look on."""

from __future__ import annotations

import os

from tests.fuzz.target import SEPARATOR


class Planted:
    """Fails on a lone surrogate, which is one of many tokens."""

    together = 4
    tokens = ()
    seeds = (b'{"service":"x","region":"US"}', b"[1, 2]")

    def judge(self, data: bytes) -> None:
        for part in data.split(SEPARATOR):
            if b"\\ud800" in part and part.count(b"{") == 1:
                raise ValueError("planted")


class Crashing:
    """Takes the whole process down."""

    together = 1
    tokens = ()
    seeds = (b"{}",)

    def judge(self, data: bytes) -> None:
        if data != self.seeds[0]:
            os.abort()


class Quiet:
    """Finds nothing."""

    together = 10
    tokens = ()
    seeds = (b"[1, 2]",)

    def judge(self, data: bytes) -> None:
        pass


class Noting:
    """Keeps what it is given."""

    together = 3
    tokens = (b"token",)
    seeds = (b'{"a":[1,"b",null]}', b"x,y\n")
    given: list[bytes]

    def judge(self, data: bytes) -> None:
        self.given.append(data)
