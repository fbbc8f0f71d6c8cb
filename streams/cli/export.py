"""`tocsin export`: the reports of a cluster as a report log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from streams import acls, reportlog
from streams.acls import Role
from streams.cli.context import Options, moment_ms
from streams.cli.output import STANDARD, opened
from streams.events import instant
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.topicrecords import held
from streams.topics import Cluster, Topics


def export(
    ctx: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", dir_okay=False, help="The report log (.jsonl, or .gz to compress it)."
        ),
    ] = STANDARD,
    since: Annotated[
        int | None,
        typer.Option(metavar="TIME", parser=moment_ms, help="Begin with what was appended then; UTC if bare."),
    ] = None,
    until: Annotated[
        int | None, typer.Option(metavar="TIME", parser=moment_ms, help="Leave out what was appended from then on.")
    ] = None,
) -> None:
    """Write the reports that the cluster holds to a report log, for `tocsin replay` on another machine.

    Every record goes along as it is: ticks, and what is no report. With the same settings the replay of all of them
    gives the cluster's incidents, if retention has left the reports since the workers first started.
    The file holds what the reports hold, reporters too: personal data.
    """
    options: Options = ctx.obj
    settings = options.settings
    topic = Topics(settings.kafka.prefix).reports
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.READ, topic)
    written, first_ms, last_ms = asyncio.run(_export(settings, topic, out, since, until))
    if first_ms is None or last_ms is None:
        typer.echo(f"{topic} holds no such records", err=True)
        return
    where = "" if out == STANDARD else f" to {out}"
    typer.echo(
        f"wrote {written:,} records of {topic}{where}, appended {instant(first_ms // 1000 * 1000)} to "
        f"{instant(last_ms // 1000 * 1000)}",
        err=True,
    )


async def _export(
    settings: Settings, topic: str, out: Path, since_ms: int | None, until_ms: int | None
) -> tuple[int, int | None, int | None]:
    """Return how many records were written, and the first and the last append time."""
    written = 0
    first_ms: int | None = None
    last_ms: int | None = None
    with opened(out) as file:
        async with aclosing(_log(settings, topic, since_ms, until_ms)) as records:
            async for record in records:
                for line in reportlog.encoded([record]):
                    file.write(line)
                written += 1
                first_ms = record.timestamp_ms if first_ms is None else first_ms
                last_ms = max(record.timestamp_ms, record.timestamp_ms if last_ms is None else last_ms)
    return written, first_ms, last_ms


async def _log(
    settings: Settings, topic: str, since_ms: int | None, until_ms: int | None
) -> AsyncGenerator[LogRecord, None]:
    async with aclosing(held(settings, topic, since_ms)) as records:
        async for record in records:
            if until_ms is not None and record.timestamp_ms >= until_ms:
                return  # they come in append order
            yield LogRecord(record.timestamp_ms, record.partition, record.key, record.value)
