"""`tocsin replay`: the whole pipeline over a report log, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import msgspec
import typer

from streams import display
from streams.cli import source
from streams.cli.context import Options
from streams.events import Incident, Outage, decode, instant
from streams.replay import Replay, backfill, distinct
from streams.reportlog import LogRecord
from streams.scenarios import Scenario
from streams.settings import Settings

Facts = dict[tuple[str, bytes], bytes]


def replay(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FILE|SCENARIO", help=f"A report log, or a scenario. {source.KNOWN}")],
    seed: Annotated[
        int | None, typer.Option(help="Places a scenario's reports within their minutes; 0 if not given.", min=0)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|SCENARIO", help="What to learn the usual levels from; for a scenario, its own usual days."
        ),
    ] = None,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Begin without any: only limits raise in the first days.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the incident log as JSON lines of topic, key and value.")
    ] = False,
) -> None:
    """Print the incidents and outages that a report log leads to; no Kafka is needed.

    It is the logic of the workers in one process: through Kafka, the same log leads to the same incidents.
    A scenario brings the limits that it is meant for, if the settings have no policy, and its region names.
    """
    prepared = prepare(ctx.obj, what, seed, baseline, no_baseline=no_baseline)
    pipeline, settings = prepared.pipeline, prepared.settings
    with display.progress("replaying", prepared.total) as watched:
        facts = distinct(pipeline.run(watched(prepared.log)))
    for reason, count in sorted(pipeline.rejected.items()):
        typer.echo(f"not a report: {count:,} records ({reason})", err=True)
    if as_json:
        _print_json(facts)
        return
    if not facts:
        hint = (
            ""
            if prepared.learned
            else "; without --baseline only raise_above raises in the first days of a service and region"
        )
        typer.echo(f"no incidents{hint}", err=True)
    _print(facts, settings)


@dataclass(frozen=True)
class Prepared:
    """What is to be replayed: a pipeline, a log for it, how many of its records are no ticks, whether levels are known.

    `settings` are those of the command line, and what a scenario brings where they say nothing.
    """

    settings: Settings
    pipeline: Replay
    log: Iterator[LogRecord]
    total: int
    learned: bool


def prepare(options: Options, what: str, seed: int | None, baseline: str | None, *, no_baseline: bool) -> Prepared:
    """Return what the arguments of a command ask to be replayed.

    Raises
    ------
    typer.BadParameter
        If they contradict each other.
    ScenarioError
        If there is no such log or scenario.
    """
    read = source.source(what)
    if seed is not None and not isinstance(read, Scenario):
        raise typer.BadParameter("only a scenario has a seed", param_hint="--seed")
    if baseline is not None and no_baseline:
        raise typer.BadParameter("contradicts --baseline", param_hint="--no-baseline")
    if isinstance(read, Scenario):
        options = options.advised(read)
    settings = options.settings
    learned = None if no_baseline else _history(baseline, read)
    pipeline, log = _begin(settings, learned, source.records(read, settings, seed or 0))
    return Prepared(settings, pipeline, log, source.total(read), learned is not None)


def _history(named: str | None, read: source.Source) -> source.Source | None:
    if named is not None:
        return source.source(named)
    return read if isinstance(read, Scenario) else None


def _begin(
    settings: Settings, learned: source.Source | None, log: Iterator[LogRecord]
) -> tuple[Replay, Iterator[LogRecord]]:
    """Return a pipeline that knows the usual levels, and the log."""
    if learned is None:
        return Replay(settings), log
    packed = backfill(settings, source.history(learned, settings))
    first = next(log, None)
    if first is None:
        return Replay(settings), log
    last_ms = max((each.bin_ms for own in packed.values() for each in own), default=0)
    if last_ms >= first.timestamp_ms // settings.count.bin_ms * settings.count.bin_ms:
        raise typer.BadParameter(
            f"goes up to {instant(last_ms)}, but the log to replay begins at {instant(first.timestamp_ms)}",
            param_hint="--baseline",
        )
    baselines = {partition: [(each.key, each.value) for each in own] for partition, own in packed.items()}
    return Replay(settings, baselines), chain([first], log)


def _print_json(facts: Facts) -> None:
    for (topic, key), value in facts.items():
        line = {"topic": topic, "key": key.decode(), "value": msgspec.Raw(value)}
        typer.echo(msgspec.json.encode(line))


def _print(facts: Facts, settings: Settings) -> None:
    incidents: dict[str, Incident] = {}
    outages: dict[str, Outage] = {}
    for (topic, _), value in facts.items():
        if topic == "outages":
            outage = decode(value, Outage)
            outages[outage.id] = outage
        else:
            incident = decode(value, Incident)
            incidents[incident.id] = incident
            display.plain(display.incident_line(incident, settings))
    for outage in outages.values():
        display.plain(display.outage_table(outage, incidents, settings))
