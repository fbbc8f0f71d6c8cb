"""How large the read model of `tocsin web` gets, how fast facts are entered, and how long its answers take."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from streams.archive import QUARTER_MS
from streams.events import Level, Levels, QuarterLevel, QuarterLevels, encode
from streams.settings import Settings, Web
from streams.topics import Topics
from streams.web.model import BINS_KEPT_MS, QUARTERS_KEPT_MS, Fact, ReadModel
from streams.web.site import Site

END_MS = 1_748_131_200_000
_AT_ONCE = 2000
_REPEATS = 5


def facts(services: int, regions: int, bin_ms: int, topics: Topics) -> Iterator[Fact]:
    """Yield the quarters and bins that are kept, as detect states them."""
    names = [f"service-{number:04}" for number in range(services)]
    rng = np.random.default_rng(1)
    for start_ms in range(END_MS - QUARTERS_KEPT_MS, END_MS, QUARTER_MS):
        counts = rng.poisson(45, (services, regions)).tolist()
        for name, own in zip(names, counts, strict=True):
            levels = [
                QuarterLevel(
                    region=f"R{number}", bins=15, count=each, window=each, peak=each, expected=45.12, state="normal"
                )
                for number, each in enumerate(own)
            ]
            yield _fact(topics.levels_15m, encode(QuarterLevels(service=name, start_ms=start_ms, regions=levels)))
    for bin_at_ms in range(END_MS - BINS_KEPT_MS, END_MS, bin_ms):
        counts = rng.poisson(3, (services, regions)).tolist()
        for name, own in zip(names, counts, strict=True):
            regions_ = [
                Level(
                    region=f"R{number}",
                    count=each,
                    window=45 + each,
                    expected=3.008,
                    score=0.4321,
                    score_threshold=5.0,
                    raise_above=None,
                    clear_below=None,
                    state="normal",
                )
                for number, each in enumerate(own)
            ]
            yield _fact(topics.levels, encode(Levels(service=name, bin_ms=bin_at_ms, regions=regions_)))


def _fact(topic: str, value: bytes) -> Fact:
    return Fact(topic, 0, 0, value)


def _longest_s(ask: Callable[[], object]) -> float:
    """Return how long a question takes at most, encoded as the API does."""
    longest_s = 0.0
    for _ in range(_REPEATS):
        begun_s = time.perf_counter()
        encode(ask())  # type: ignore[arg-type]  # all answers are structs
        longest_s = max(longest_s, time.perf_counter() - begun_s)
    return longest_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(web=Web(database=str(Path(folder, "web.sqlite3"))))
        model = ReadModel(settings)
        entered, busy_s = 0, 0.0
        stated = facts(asked.services, asked.regions, settings.count.bin_ms, Topics(settings.kafka.prefix))
        while batch := list(islice(stated, _AT_ONCE)):
            begun_s = time.process_time()
            model.apply(batch, {})
            busy_s += time.process_time() - begun_s
            entered += len(batch)
        site = Site(settings, lambda: ("live", None, 0.0))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"{asked.services} services in {asked.regions} regions: {entered:,} facts, {size / 1e6:.0f} MB")
        print(f"{entered / busy_s:,.0f} facts entered in a second of processor time")
        name = "service-0000"
        questions: dict[str, Callable[[], object]] = {
            "services": site.query.services,
            "sparklines": site.ranges.sparklines,
            "levels of 24 h": lambda: site.ranges.levels(name, "24h"),
            "levels of 24 h, all regions": lambda: site.ranges.levels(name, "24h", None, ["*"]),
            "levels of 7 d, all regions": lambda: site.ranges.levels(name, "7d", None, ["*"]),
        }
        for what, ask in questions.items():
            print(f"{what}: {_longest_s(ask) * 1000:.0f} ms at most of {_REPEATS}")
        model.close()


if __name__ == "__main__":
    main()
