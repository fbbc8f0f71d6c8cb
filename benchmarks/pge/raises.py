"""What a detector raises in October 2019, without any limit: all of California, and its 50 largest towns.

    python benchmarks/pge/raises.py FILE [--detector NAME] [--bin-s SECONDS]

FILE holds the outages as `tocsin import pge` reads them; the labels are docs/studies/pge-2019-10-labels.json, in which
a shutoff begins with the first snapshot that lists 50 shutoffs at once. A town is large by its outages of the month,
those of shutoffs left out. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import msgspec

from benchmarks.pge.runs import SHUTOFF, imported, pacific
from benchmarks.pge.study import table
from detectors.backtest import poisson_interval
from streams.backtest.labels import Label, read_labels
from streams.backtest.run import Episode, Judged, judge
from streams.backtest.series import Series
from streams.events import DAY_MS, MINUTE_MS, WHOLE_SERVICE
from streams.importers import report_log
from streams.importers.pge import SERVICE
from streams.replay import Replay
from streams.settings import Count, Detect, Settings

LABELS = Path(__file__).parents[2] / "docs" / "studies" / "pge-2019-10-labels.json"
TOWNS = 50
SOON_MIN = 30.0
#: The archive has gaps of up to 160 minutes.
PATIENCE_MIN = 180


class _Reported(msgspec.Struct):
    region: str
    kind: str


def judged(file: Path, detect: Detect, bin_s: int, labels: Sequence[Label]) -> tuple[Judged, list[str]]:
    """Return what the detector makes of the state and its towns, and the largest towns."""
    count = Count(bin_s=bin_s, window_bins=3600 // bin_s, epoch_s=3600)
    settings = Settings(count=count, detect=detect)
    reports = list(imported(file, None))
    bins = dict(Replay(settings).history(report_log(iter(reports), settings, str(file))))
    sizes = Counter(
        own.region
        for own in (msgspec.json.decode(each.value, type=_Reported) for each in reports)
        if own.kind != SHUTOFF
    )
    largest = [region for region, _ in sizes.most_common(TOWNS)]
    return judge(Series(str(file), SERVICE, bins, settings, signs_of_life=False), detect, labels), largest


def within(label: Label, episodes: Sequence[Episode]) -> list[Episode]:
    """Return the incidents that a label makes true."""
    return [each for each in episodes if label.is_hit_by(each.opened_ms, each.known_ms)]


def delay_min(label: Label, episodes: Sequence[Episode]) -> float | None:
    """Return how long after the label's begin the first of its incidents was known, in minutes."""
    return min(((each.known_ms - label.begin_ms) / MINUTE_MS for each in within(label, episodes)), default=None)


def shutoff_rows(result: Judged, towns: Sequence[str], labels: Sequence[Label]) -> Iterator[list[object]]:
    """Yield for each label: delay of the whole, towns raised, of them soon, and the first one's delay."""
    for label in labels:
        whole = delay_min(label, result.episodes.get((SERVICE, WHOLE_SERVICE), []))
        delays = [delay_min(label, result.episodes.get((SERVICE, town), [])) for town in towns]
        known = [each for each in delays if each is not None]
        soon = sum(each <= SOON_MIN for each in known)
        first = f"{min(known):.0f} min" if known else "-"
        yield [label.name, "-" if whole is None else f"{whole:.0f} min", len(known), soon, first]


def quiet_rows(result: Judged, towns: Sequence[str], labels: Sequence[Label]) -> Iterator[list[object]]:
    """Yield the incidents outside of labels of the whole and of the towns, their rate and its interval."""
    for name, regions in (("California", [WHOLE_SERVICE]), (f"{TOWNS} largest towns", towns)):
        keys = [(SERVICE, region) for region in regions]
        own = [each for key in keys for each in result.episodes.get(key, [])]
        true = [each for label in labels for each in within(label, own)]
        days = sum(result.watched_ms.get(key, 0) for key in keys) / DAY_MS
        if not days:
            continue
        false = sorted((each for each in own if each not in true), key=lambda each: each.opened_ms)
        low, high = poisson_interval(len(false), days / 30)
        counted = Counter(pacific(each.opened_ms).date() for each in false)
        yield [
            name,
            len(false),
            f"{days:.0f}",
            f"{30 * len(false) / days:.2f}",
            f"{low:.2f} to {high:.2f}",
            ", ".join(_day(day, number) for day, number in sorted(counted.items())) or "-",
        ]


def _day(day: date, number: int) -> str:
    return f"{day.day} {day:%b}" + (f" ({number})" if number > 1 else "")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--detector", default=Detect().detector)
    parser.add_argument("--bin-s", type=int, default=1200, help="length of a bin; snapshots come every 600 s")
    arguments = parser.parse_args()
    # of the label's whole service, so that its time counts for the towns as well
    labels = [
        Label(each.service, None, each.begin_ms, each.end_ms, each.name) for each in read_labels(LABELS, [SERVICE])
    ]
    detect = Detect.model_validate({"detector": arguments.detector, "unknown_after_minutes": PATIENCE_MIN})
    result, towns = judged(arguments.file, detect, arguments.bin_s, labels)
    heading = ["labelled", "California raised after", f"of the {TOWNS} largest towns", "within 30 min", "first after"]
    print(table(heading, list(shutoff_rows(result, towns, labels))))
    print(
        table(["else", "incidents", "days", "per 30 d", "95 % interval", "on"], list(quiet_rows(result, towns, labels)))
    )


if __name__ == "__main__":
    main()
