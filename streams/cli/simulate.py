"""`tocsin simulate`: the reports of a scenario, into Kafka or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams import acls, display, reportlog, scenarios
from streams.acls import Role
from streams.cli import source
from streams.cli.context import Options, limits
from streams.intake import Intake
from streams.settings import SettingsError
from streams.topics import Cluster, Topics


def simulate(
    ctx: typer.Context,
    scenario: Annotated[str, typer.Argument(help=source.KNOWN)],
    seed: Annotated[int, typer.Option(help="Places the reports within their minutes.", min=0)] = 0,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Write a report log instead (.jsonl, or .gz to compress it)."
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(metavar="X", min=0.001, help="At most X times as fast as life; as fast as possible if not given."),
    ] = None,
) -> None:
    """Write the reports of a scenario to Kafka, or to a file.

    To Kafka only with kafka.clock = "log", where reports keep the times of the scenario: a broker's clock would
    stamp them with today's, and workers would refuse them as far too old. Best under a kafka.prefix of its own.
    """
    options: Options = ctx.obj
    told = scenarios.load(scenario)
    if to is not None and speed is not None:
        raise typer.BadParameter("a file is written at once", param_hint="--speed")
    settings = options.settings
    if to is None and settings.kafka.clock != "log":
        raise SettingsError(
            'kafka.clock = "broker": the broker would stamp the reports with the present time, and workers would '
            "refuse them as too old; give them topics of their own, here and in `topics create` and `worker`: "
            "tocsin --set kafka.clock=log --set kafka.prefix=tocsin-simulation simulate ..., or write a file (--to)"
        )
    if to is None and "policy" in told.advice(settings):
        typer.echo(f"the settings have no [[policy]]; the scenario is meant for this one: {limits(told)}", err=True)
    log = source.records(told, settings, seed)
    if to is not None:
        with display.progress("simulating", told.total) as watched:
            written = reportlog.write(to, watched(log))
        typer.echo(f"wrote {written:,} records to {to}, {told.total:,} of them reports")
        return
    topic = Topics(settings.kafka.prefix).reports
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.PRODUCE, topic)
    with display.progress("simulating", told.total) as watched, Intake(settings) as intake:
        written = intake.reports(watched(log), speed=speed)
    typer.echo(f"wrote {written:,} records to {topic}, {told.total:,} of them reports")
