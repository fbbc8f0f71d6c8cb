"""Labels: when a service really failed.

Two forms are read. Tocsin's own:

    {"version": 1, "labels": [
      {"service": "x", "region": "US", "begin": "2025-05-24T12:02Z", "end": "2025-05-24T14:30Z", "name": "login"}]}

`region` may be left out where the whole service is meant, `name` too. And that of the Numenta Anomaly Benchmark, for
tables of one series each: `{"realTweets/Twitter_volume_AAPL.csv": [["2015-03-03 04:37:53.000000", "..."]]}`, where a
name stands for the table whose file is called so, or ends in `_` and the name. Times without an offset are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streams.backtest.series import REGION, BacktestError, Key
from streams.importers.slugs import slug
from streams.importers.timeformat import ISO, TimeFormat

_TIME = TimeFormat(ISO, "UTC")


@dataclass(frozen=True)
class Label:
    """An outage as somebody has seen it: `[begin_ms, end_ms)`, of one region or, with None, of the whole service."""

    service: str
    region: str | None
    begin_ms: int
    end_ms: int
    name: str = ""

    def is_hit_by(self, opened_ms: int, known_ms: int) -> bool:
        """Return whether an incident that opened and became known then is of this label."""
        return known_ms >= self.begin_ms and opened_ms < self.end_ms

    def covers(self, key: Key) -> bool:
        """Return whether a service and region is meant."""
        return key[0] == self.service and self.region in (None, key[1])


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    service: str
    begin: str
    end: str
    region: str | None = None
    name: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[msgspec.Raw]
    version: int = 1


def read_labels(path: Path, stems: Sequence[str]) -> list[Label]:
    """Return the labels of a file.

    Parameters
    ----------
    path
        A JSON file of one of the two forms.
    stems
        The names that the data's files have as services; a name that the Numenta form gives to none is left out.

    Raises
    ------
    BacktestError
        If the file is wrong; with the line that is.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    try:
        fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        if set(fields) <= {"version", "labels"} and "labels" in fields:
            return _own(path, content, msgspec.json.decode(content, type=_File))
        return _numenta(path, content, msgspec.json.decode(content, type=dict[str, list[msgspec.Raw]]), stems)
    except msgspec.DecodeError as error:
        place = re.search(r"byte (\d+)", str(error))
        line = 1 if place is None else content[: int(place[1])].count(b"\n") + 1
        raise BacktestError(f"{path}:{line}: not a file of labels: {error}") from None


def _own(path: Path, content: bytes, file: _File) -> list[Label]:
    if file.version != 1:
        raise BacktestError(f"{path}: labels of version {file.version}; this version of Tocsin reads 1")
    labels = []
    for line, raw in _lines(content, file.labels):
        try:
            own = msgspec.json.decode(raw, type=_Own)
        except msgspec.DecodeError as error:
            raise BacktestError(f"{path}:{line}: {error}") from None
        labels.append(_label(path, line, own.service, own.region, own.begin, own.end, own.name))
    return labels


def _numenta(path: Path, content: bytes, files: dict[str, list[msgspec.Raw]], stems: Sequence[str]) -> list[Label]:
    labels = []
    for name, windows in files.items():
        own = slug(re.sub(r"\.csv$", "", name.rpartition("/")[2]))
        matching = sorted({stem for stem in stems if stem == own or stem.endswith(f"-{own}")})
        if len(matching) > 1:
            raise BacktestError(f"{path}: {name!r} may be any of {', '.join(matching)}")
        for line, raw in _lines(content, windows, content.find(name.encode()) + 1):
            try:
                begin, end = msgspec.json.decode(raw, type=tuple[str, str])
            except msgspec.DecodeError as error:
                raise BacktestError(f"{path}:{line}: a window is a pair of times: {error}") from None
            label = _label(path, line, own, REGION, begin, end, "")
            labels += [Label(stem, REGION, label.begin_ms, label.end_ms) for stem in matching]
    return labels


def _lines(content: bytes, parts: Sequence[msgspec.Raw], start: int = 0) -> Iterator[tuple[int, msgspec.Raw]]:
    """Yield parts of a file, in their order there from `start` on, each with the line that it begins at."""
    for part in parts:
        begin = content.find(bytes(part), start)
        start = begin + len(bytes(part))
        yield content.count(b"\n", 0, begin) + 1, part


def _label(path: Path, line: int, service: str, region: str | None, begin: str, end: str, name: str) -> Label:
    try:
        begin_ms, end_ms = _TIME.read(begin), _TIME.read(end)
    except ValueError as error:
        raise BacktestError(f"{path}:{line}: {error}") from None
    if end_ms <= begin_ms:
        raise BacktestError(f"{path}:{line}: ends at {end}, not after its begin, {begin}")
    return Label(service, region, begin_ms, end_ms, name)
