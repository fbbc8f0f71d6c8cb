"""`tocsin demo`: an outage being detected, from the reports to the table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer

from streams import scenarios
from streams.cli import source
from streams.cli.context import Options, sigterm_interrupts
from streams.demo import Deployment, run


def demo(
    ctx: typer.Context,
    scenario: Annotated[str, typer.Option(help=f"What is played. {source.KNOWN}")] = "x-2025-05-24",
    speed: Annotated[float, typer.Option(metavar="X", min=0.1, help="How many times faster than life.")] = 120.0,
    seed: Annotated[int, typer.Option(help="Places the reports within their minutes.", min=0)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page, where there is a screen.")] = True,
) -> None:
    """Watch an outage being detected: reports go into a real Kafka, two workers read them, a page shows it all.

    The page is on web.port, or on any other port if that is taken; the terminal shows its address, and the same in
    short. Kafka is started for it, and gone at the end; nothing else needs to be there. With KAFKA_BOOTSTRAP_SERVERS in
    the environment that cluster is used instead, under topics of their own that are deleted at the end. Ctrl-C ends it
    at any time and leaves nothing running.
    """
    options: Options = ctx.obj
    told = scenarios.load(scenario)

    def configure(overrides: Mapping[str, str]) -> Deployment:
        demo_options = replace(options, overrides={**options.overrides, **overrides})
        return Deployment(demo_options.settings, demo_options.command_line)

    with sigterm_interrupts():
        run(
            configure,
            told,
            seed=seed,
            speed=speed,
            bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or None,
            browser=browser,
        )
