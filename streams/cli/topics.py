"""`tocsin topics`: the topics of a deployment on its cluster."""

from __future__ import annotations

import typer

from streams.cli.context import ExitCode, Options
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
def check(ctx: typer.Context) -> None:
    """Say what is wrong with the topics; exits with 1 if anything is."""
    options: Options = ctx.obj
    with Cluster(options.settings) as cluster:
        findings = list(cluster.findings())
    for finding in findings:
        typer.echo(finding, err=True)
    if findings:
        raise typer.Exit(ExitCode.FINDINGS)
    typer.echo(f"all topics of {options.settings.kafka.prefix} are as they should be")
