"""`tocsin incidents`: what is in the incidents topic, and what comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

import typer

from streams import acls, display
from streams.acls import Role
from streams.cli.context import Options, moment_ms
from streams.events import Incident, decode
from streams.settings import Settings
from streams.tail import tail
from streams.topics import Cluster, Topics


def incidents(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print each transition as its JSON document.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on with what comes, until Ctrl-C; or stop at the end.")
    ] = True,
    since: Annotated[
        int | None,
        typer.Option(
            metavar="TIME", parser=moment_ms, help="Only what was decided from then on: 2025-05-24T12:00Z; UTC if bare."
        ),
    ] = None,
) -> None:
    """Print the transitions of incidents, each once: first those there are, by time, then those that come."""
    options: Options = ctx.obj
    settings = options.settings
    topic = Topics(settings.kafka.prefix).incidents
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.READ, topic)
    with suppress(KeyboardInterrupt):  # the usual end
        asyncio.run(_print(settings, topic, as_json=as_json, follow=follow, since_ms=since))


async def _print(settings: Settings, topic: str, *, as_json: bool, follow: bool, since_ms: int | None) -> None:
    seen: set[bytes] = set()
    async for records in tail(settings, [topic], follow=follow):
        fresh = {record.key: record.value for record in records if record.value and record.key not in seen}
        seen |= fresh.keys()
        decoded = [(decode(value, Incident), value) for value in fresh.values()]
        for incident, value in sorted(decoded, key=lambda each: each[0].at_ms):
            if since_ms is not None and incident.at_ms < since_ms:
                continue
            if as_json:
                typer.echo(value)
            else:
                display.plain(display.incident_line(incident, settings))
