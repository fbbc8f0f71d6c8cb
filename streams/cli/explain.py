"""`tocsin explain`: why an incident opened, went on and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from streams import acls, display
from streams.acls import Role
from streams.cli import source
from streams.cli.context import Options
from streams.cli.replay import prepare
from streams.events import Incident, Levels, decode, instant
from streams.explanation import Explanation, chart, explain, headline
from streams.settings import Settings
from streams.tail import tail
from streams.topics import Cluster, Topics

#: How many ids an error lists.
_LISTED = 10

Records = Iterable[tuple[str, bytes, bytes]]


class UnknownIncidentError(Exception):
    """There is no such incident where it was looked for; the message lists some that there are."""


def explain_incident(
    ctx: typer.Context,
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="Its id, such as x.US.20250524T1202Z: see `tocsin incidents`.")
    ],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|SCENARIO", help=f"A report log or scenario to replay, instead of the cluster. {source.KNOWN}"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Places a scenario's reports within their minutes; 0 if not given.", min=0)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|SCENARIO", help="What to learn the usual levels from; for a scenario, its own usual days."
        ),
    ] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Begin without any.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as JSON, with the levels of each bin.")
    ] = False,
) -> None:
    """Say in plain words why an incident opened, went on and ended, with the numbers to check it by.

    The incident and the levels around it come from the cluster, where levels are kept for seven days; or from a replay
    of a report log or a scenario, as `tocsin replay` does it.
    """
    options: Options = ctx.obj
    if what is None:
        for option, given in (("--seed", seed is not None), ("--baseline", baseline), ("--no-baseline", no_baseline)):
            if given:
                raise typer.BadParameter("goes with a report log or a scenario to replay", param_hint=option)
        settings = options.settings
        topics = Topics(settings.kafka.prefix)
        with Cluster(settings) as cluster:
            acls.require(cluster, settings, Role.READ, topics.incidents, topics.levels)
        explanation = _explained(incident, asyncio.run(_held(settings)), settings, topics.incidents)
    else:
        prepared = prepare(options, what, seed, baseline, no_baseline=no_baseline)
        settings = prepared.settings
        with display.progress("replaying", prepared.total) as watched:
            judgements = prepared.pipeline.run(watched(prepared.log))
            facts = (fact for judgement in judgements for fact in judgement.facts)
            explanation = _explained(incident, ((each.topic, each.key, each.value) for each in facts), settings, what)
    if as_json:
        typer.echo(msgspec.json.encode(explanation))
    else:
        _print(explanation, settings)


async def _held(settings: Settings) -> list[tuple[str, bytes, bytes]]:
    topics = Topics(settings.kafka.prefix)
    names = {topics.incidents: "incidents", topics.levels: "levels"}
    async for records in tail(settings, list(names), follow=False):
        return [(names[each.topic], each.key, each.value) for each in records if each.value]
    return []


def _explained(name: str, records: Records, settings: Settings, place: str) -> Explanation:
    service = name.partition(".")[0]
    documents: dict[bytes, Incident] = {}
    levels: list[Levels] = []
    for topic, key, value in records:
        if topic == "incidents":
            documents.setdefault(key, decode(value, Incident))
        elif topic == "levels" and key.decode() == service:
            levels.append(decode(value, Levels))
    own = sorted((each for each in documents.values() if each.id == name), key=lambda each: each.sequence)
    if not own:
        raise UnknownIncidentError(_unknown(name, {each.id for each in documents.values()}, place))
    return explain(own, levels, settings)


def _unknown(name: str, known: set[str], place: str) -> str:
    if not known:
        return f"{place}: no incident {name!r}, and no other"
    # its service's first, the newest of them first
    ranked = sorted(known, key=lambda each: (each.partition(".")[0] == name.partition(".")[0], each.rpartition(".")[2]))
    listed = ", ".join(ranked[::-1][:_LISTED])
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{place}: no incident {name!r}; there are {listed}{more}"


def _print(explanation: Explanation, settings: Settings) -> None:
    window = display.duration(settings.count.window_ms)
    display.plain(Text(f"{explanation.incident}: {headline(explanation, settings)}", style="bold"))
    peak = f"{explanation.peak:,} reports in {window} at {instant(explanation.peak_ms)}"
    display.plain(f"Peak {peak}, {explanation.total:,} in total")
    drawn = chart(explanation, settings)
    if drawn is not None:
        display.plain("")
        for line in drawn.lines:
            display.plain(Text(line))
        display.plain(drawn.legend)
    for number, each in enumerate(explanation.transitions):
        display.plain("")
        style = display.STYLES[each.transition]
        display.plain(Text.assemble(instant(each.at_ms), " ", (each.transition.upper(), style), f"  {each.text}"))
        display.plain(Text(f"  {_numbers(each.decision)}"))
        if number == 0:
            display.plain("")
            for line in explanation.between:
                display.plain(line)


def _numbers(decision: msgspec.Struct) -> str:
    """Return the numbers behind a decision: its own fields by name, without those that are not known."""
    fields = msgspec.structs.asdict(decision)
    figures = fields.pop("figures")
    return " ".join(f"{name}={value}" for name, value in (fields | figures).items() if value is not None)
