"""`tocsin broker`: the embedded Kafka on its own."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from streams.broker import EmbeddedBroker
from streams.cli.context import sigterm_interrupts

_POLL_S = 0.5


def broker(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Keep the records there, for the next start; else they go at the end."
        ),
    ] = None,
    jars: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Take Kafka's jars from there, such as `libs` of a distribution; else they are fetched once.",
        ),
    ] = None,
    brokers: Annotated[int, typer.Option(metavar="N", min=1, max=9, help="Number of nodes.")] = 1,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P", min=1024, max=65_000, help="Port of the first node, the others take the next; else free ones."
        ),
    ] = None,
) -> None:
    """Run an Apache Kafka on this machine until Ctrl-C or SIGTERM, for trying things.

    Prints the bootstrap address on a line of its own as soon as it can be used.
    """
    with sigterm_interrupts(), suppress(KeyboardInterrupt), EmbeddedBroker(data, jars, brokers, port) as running:
        typer.echo(running.bootstrap_servers)
        while True:
            time.sleep(_POLL_S)
            running.check()
