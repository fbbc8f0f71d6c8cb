"""Broken inputs from real ones: bytes, tokens and values replaced, repeated, left out, moved and mixed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

#: Put into every kind of input: what readers of JSON, TOML, CSV, numbers, times and UTF-8 stumble over.
TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b"\\",
        b"'",
        b"=",
        b"#",
        b"/",
        b";",
        b"\n",
        b"\r\n",
        b"\t",
        b" ",
        b"\0",
    ),
    *(b"null", b"true", b"false", b"{}", b"[]", b'""', b"NaN", b"nan", b"Infinity", b"-inf", b"nul", b"/**/"),
    *(b"0", b"-0", b"-1", b"1", b"01", b"1.", b".5", b"1e999", b"-1e999", b"1e-999", b"0.1", b"1e3", b"1_000"),
    *(b"255", b"256", b"65536", b"2147483648", b"9007199254740993", b"9223372036854775807", b"-9223372036854775808"),
    *(b"9223372036854775808", b"18446744073709551616", b"1" * 400, b"253402300800000", b"-62135596800001"),
    *(b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80"),
    *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u0000", b"\\u", b"\\x", b"\\n", "é".encode(), "\u0663".encode()),
    *(
        b"2024-02-29T23:59:59.999999999Z",
        b"2025-02-29T00:00:00Z",
        b"0000-01-01T00:00:00Z",
        b"9999-12-31T23:59:59-23:59",
    ),
    *(b"1969-12-31T23:59:59Z", b"2016-12-31T23:59:60Z", b"2025-05-24T12:51", b"+24:00", b"Z", b"T"),
    *(b"version", b'"version":2', b"a" * 65, b"[" * 300, b"{" * 300, b"]" * 300),
]
#: What mutation seldom makes longer.
USUAL_BYTES = 4096

_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null')

Mutation = Callable[[bytes, Random], bytes]


class Mutator:
    """Makes broken inputs of a target.

    Parameters
    ----------
    seeds, tokens
        The target's.
    """

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        self._seeds = list(seeds) or [b""]
        self._tokens = [*TOKENS, *tokens]
        self._mutations: list[Mutation] = [
            *(_flip, _overwrite, _remove, _repeat, _move, _cut, self._insert, self._replace),
            *(self._revalue, self._revalue, self._revalue, self._cross, self._cross_values),
        ]

    def fresh(self, random: Random) -> bytes:
        """Return a seed that has been mutated."""
        return self.mutate(random.choice(self._seeds), random)

    def mutate(self, data: bytes, random: Random, longest: int = USUAL_BYTES) -> bytes:
        """Return `data` with one to five changes, cut to `longest` bytes."""
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
            data = random.choice(self._mutations)(data, random)
        return data[:longest]

    def _insert(self, data: bytes, random: Random) -> bytes:
        at = random.randint(0, len(data))
        return data[:at] + random.choice(self._tokens) + data[at:]

    def _replace(self, data: bytes, random: Random) -> bytes:
        first, last = _slice(data, random)
        return data[:first] + random.choice(self._tokens) + data[last:]

    def _revalue(self, data: bytes, random: Random) -> bytes:
        """Replace a JSON value, or a key, by a token or the value of another seed."""
        found = _VALUE.search(data, random.randint(0, len(data)))
        if found is None:
            return self._insert(data, random)
        value = random.choice(self._tokens)
        if random.random() < 0.3:
            value = _some_value(random.choice(self._seeds), random)
        elif random.random() < 0.3:
            value = b'"' + value.replace(b'"', b"") + b'"'
        return data[: found.start()] + value + data[found.end() :]

    def _cross(self, data: bytes, random: Random) -> bytes:
        other = random.choice(self._seeds)
        return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]

    def _cross_values(self, data: bytes, random: Random) -> bytes:
        at = random.randint(0, len(data))
        return data[:at] + _some_value(random.choice(self._seeds), random) + data[at:]


def _slice(data: bytes, random: Random) -> tuple[int, int]:
    first = random.randint(0, len(data))
    return first, min(len(data), first + random.choice((1, 1, 2, 4, 8, 32, len(data))))


def _some_value(data: bytes, random: Random) -> bytes:
    found = _VALUE.search(data, random.randint(0, len(data)))
    return b"" if found is None else found.group()


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _overwrite(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    put = random.randbytes(random.choice((1, 1, 2, 4, 8)))
    return data[:at] + put + data[at + len(put) * random.getrandbits(1) :]


def _remove(data: bytes, random: Random) -> bytes:
    first, last = _slice(data, random)
    return data[:first] + data[last:]


def _repeat(data: bytes, random: Random) -> bytes:
    first, last = _slice(data, random)
    return data[:last] + data[first:last] * random.choice((1, 1, 2, 10)) + data[last:]


def _move(data: bytes, random: Random) -> bytes:
    first, last = _slice(data, random)
    rest = data[:first] + data[last:]
    at = random.randint(0, len(rest))
    return rest[:at] + data[first:last] + rest[at:]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]
