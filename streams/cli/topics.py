"""`tocsin topics`: the topics of a deployment on its cluster."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from streams.acls import PURPOSES, Role, commands
from streams.cli.context import ExitCode, Options
from streams.topicfindings import Severity
from streams.topics import Cluster

topics = typer.Typer(no_args_is_help=True, help="The topics of a deployment.")


@topics.command()
def create(ctx: typer.Context) -> None:
    """Create the topics that are missing, then check all."""
    options: Options = ctx.obj
    with Cluster(options.settings) as cluster:
        for name in cluster.create():
            typer.echo(f"created {name}")
    check(ctx)


@topics.command()
def check(
    ctx: typer.Context,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for what only should be otherwise, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document for each difference.")] = False,
) -> None:
    """Say how the topics differ from what they should be, why that matters, and what mends it.

    Workers refuse to start for what MUST be otherwise, and the exit code is 1 then. What SHOULD be otherwise works
    worse or later, or is kept for another time than the documentation says.
    """
    options: Options = ctx.obj
    with Cluster(options.settings) as cluster:
        found = list(cluster.differences())
    musts = sum(each.severity is Severity.MUST for each in found)
    for each in found:
        if as_json:
            typer.echo(json.dumps(asdict(each)))
        else:
            typer.echo(f"{each.severity.upper():6}  {each.topic}: {each.setting} is {each.actual}, not {each.wanted}")
            typer.echo(f"  why   {each.why}\n  mend  {each.remedy}")
    prefix = options.settings.kafka.prefix
    if not found:
        typer.echo(f"all topics of {prefix} are as they should be", err=as_json)
    elif not as_json:
        refuse = "workers refuse to start" if musts else "workers start all the same"
        typer.echo(
            f"{len(found)} differences in the topics of {prefix}, {musts} of them must be mended: {refuse}", err=True
        )
    if musts or (found and strict):
        raise typer.Exit(ExitCode.FINDINGS)


@topics.command()
def acls(
    ctx: typer.Context,
    role: Annotated[Role | None, typer.Argument(help="What is to run there; all if none.")] = None,
    principal: Annotated[
        str | None, typer.Option(metavar="TYPE:NAME", help="Who is to be allowed; User:tocsin-ROLE if nobody is named.")
    ] = None,
) -> None:
    """Print the commands by which an administrator allows what runs here the least that it needs.

    They are those of Kafka's own tool; admin.properties is the file that says who the administrator is.
    """
    options: Options = ctx.obj
    for each in [role] if role else Role:
        typer.echo(f"# {each}: {PURPOSES[each]}")
        for line in commands(each, options.settings, principal or f"User:tocsin-{each}"):
            typer.echo(line)
