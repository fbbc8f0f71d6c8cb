"""`tocsin produce`: a report log into Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams import acls, display
from streams.acls import Role
from streams.cli import source
from streams.cli.context import Options
from streams.events import TICK_KEY
from streams.intake import Intake
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.topics import Cluster, Topics


def produce(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            readable=True,
            help="JSON Lines, also compressed (.gz): a log as `simulate --to` writes it, or bare reports, one a line.",
        ),
    ],
    rate: Annotated[float | None, typer.Option(metavar="N", min=0.001, help="At most N records a second.")] = None,
    speed: Annotated[
        float | None, typer.Option(metavar="X", min=0.001, help="At most X times as fast as the log was written.")
    ] = None,
) -> None:
    """Write a file of reports to Kafka; as fast as possible, unless told otherwise.

    With kafka.clock = "broker" the broker stamps the reports with the present time, and those that say to be of
    another day are refused by the workers. With "log" they keep the times of the file, and its ticks go with them.
    """
    options: Options = ctx.obj
    settings = options.settings
    topic = Topics(settings.kafka.prefix).reports
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.PRODUCE, topic)
    with display.progress("producing", source.total(file)) as watched, Intake(settings) as intake:
        written = intake.reports(
            (record for record in watched(source.records(file, settings)) if _belongs(record, settings)),
            rate=rate,
            speed=speed,
        )
    typer.echo(f"wrote {written:,} records to {topic}")


def _belongs(record: LogRecord, settings: Settings) -> bool:
    # by the broker's clock, the ticks of the file are not the time, and count writes some itself
    return settings.kafka.clock == "log" or record.key != TICK_KEY
