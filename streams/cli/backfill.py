"""`tocsin backfill`: baselines from history, so that detection does not begin blind."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from streams import acls, replay
from streams.acls import Role
from streams.cli import source
from streams.cli.context import Options
from streams.events import instant
from streams.intake import Intake
from streams.reportlog import ReportLogError
from streams.settings import Settings
from streams.tail import tail
from streams.topics import Cluster, Topics, TopicsError


def backfill(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|SCENARIO",
            help=f"A report log of past days, or a scenario, for its usual days. {source.KNOWN}",
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the baselines that are there, whoever wrote them.")
    ] = False,
) -> None:
    """Learn the usual levels from history and write them to Kafka as baselines.

    Run it before the workers first start: they read baselines only when they start, and write their own from then on.
    A service and region raises nothing before 24 hours of it are known; the default detector looks back 7 days.
    """
    options: Options = ctx.obj
    settings = options.settings
    topic = Topics(settings.kafka.prefix).baselines
    history = source.history(source.source(what), settings)
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.BACKFILL, topic)
    existing = asyncio.run(_existing(settings, topic))
    if existing and not force:
        raise TopicsError(f"{topic} holds {len(existing)} baselines already; --force replaces them")
    packed = replay.backfill(settings, history)
    if not packed:
        raise ReportLogError(f"{what}: no bin of {settings.count.bin_s} s is complete in it: nothing to learn")
    written = {partition: {each.key for each in own} for partition, own in packed.items()}
    replaced = {
        partition: [key for where, key in existing if where == partition and key not in keys]
        for partition, keys in written.items()
    }
    with Intake(settings) as intake:
        count = intake.baselines(packed, replaced)
    last_ms = max(each.bin_ms for own in packed.values() for each in own)
    upto = instant(last_ms + settings.count.bin_ms)
    typer.echo(f"wrote {count} baselines to {topic}, up to {upto}")


async def _existing(settings: Settings, topic: str) -> set[tuple[int, bytes]]:
    """Return partition and key of the baselines that are there."""
    found: set[tuple[int, bytes]] = set()
    async for records in tail(settings, [topic], follow=False):
        for record in records:
            place = record.partition, record.key
            if record.value:
                found.add(place)
            else:
                found.discard(place)
    return found
