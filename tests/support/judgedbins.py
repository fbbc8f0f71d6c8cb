"""Complete bins of one counts partition, and what judging them states."""

from collections.abc import Mapping, Sequence
from typing import Any

from streams.bins import Bin
from streams.detection import Detection, Fact, Judgement
from streams.events import Incident, Level, Levels, decode, instant
from streams.settings import Settings
from streams.snapshots import Snapshot, complete

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
START_MS = 1_748_088_000_000  # 2025-05-24T12:00Z
US = ("x", "US")

Counts = Mapping[tuple[str, str], int]


def deployment(bin_s: int = 60, **detect: Any) -> Settings:
    """Return settings with windows of three bins and a limit of 10 reports per bin."""
    return Settings.model_validate(
        {
            "kafka": {"counts_partitions": 1},
            "count": {"bin_s": bin_s, "epoch_s": 3600, "window_bins": 3},
            "detect": {"detector": "limit", "limit": {"above": 10}, **detect},
            "policy": [{"min_open_minutes": 0, "clear_windows": 1}],
        }
    )


HOURLY = deployment(3600, forget_days=1, snapshot_every_bins=4, unknown_after_minutes=180)
LEARNING = deployment(3600, detector="ratio", unknown_after_minutes=180)


def bin_of(
    number: int, counts: Counts, *, covered: int = 4, bin_ms: int = MINUTE_MS, arrived: int | None = None
) -> Bin:
    """Return the bin number `number` from 12:00 on, of four sources."""
    return Bin(
        bin_ms=START_MS + number * bin_ms,
        kinds={name: {"app": count} for name, count in counts.items()},
        arrived=sum(counts.values()) if arrived is None else arrived,
        covered=covered,
        sources=4,
    )


def of_us(counts: Sequence[int], first: int = 0, **bin_: Any) -> list[Bin]:
    """Return consecutive bins in which x has these counts in the United States."""
    return [bin_of(first + index, {US: count} if count else {}, **bin_) for index, count in enumerate(counts)]


def judge(detection: Detection, bins: Sequence[Bin]) -> list[Judgement]:
    return [detection.judge(bin_) for bin_ in bins]


def incidents(judgements: Sequence[Judgement]) -> list[tuple[str, str]]:
    """Return transition and time of every incident fact."""
    documents = [decode(fact.value, Incident) for fact in facts(judgements, "incidents")]
    return [(document.transition, instant(document.at_ms)[-6:-1]) for document in documents]


def facts(judgements: Sequence[Judgement], topic: str) -> list[Fact]:
    return [fact for judgement in judgements for fact in judgement.facts if fact.topic == topic]


def levels(judgement: Judgement) -> dict[tuple[str, str], Level]:
    stated = [decode(fact.value, Levels) for fact in facts([judgement], "levels")]
    return {(each.service, level.region): level for each in stated for level in each.regions}


def records(judgements: Sequence[Judgement]) -> list[tuple[bytes, bytes | None]]:
    return [(packed.key, packed.value) for judgement in judgements for packed in judgement.snapshots]


def found(judgements: Sequence[Judgement]) -> dict[str, dict[int, list[Snapshot]]]:
    return complete(records(judgements))
