"""`tocsin worker`: the stages at work."""

from __future__ import annotations

import signal
import sys
import threading
from enum import StrEnum
from typing import Annotated

import typer

from streams.cli.context import Options
from streams.logs import configure
from streams.worker import Workers, end_with_parent, run_stage


class Stage(StrEnum):
    """The stages, as arguments."""

    COUNT = "count"
    DETECT = "detect"
    NOTIFY = "notify"


def worker(
    ctx: typer.Context,
    stage: Annotated[
        Stage | None, typer.Argument(help="The stage to run; all three, each in a process, if none.")
    ] = None,
    apply_settings: Annotated[
        bool,
        typer.Option("--apply-settings", help="Go on from state that other [detect] or [[policy]] settings built."),
    ] = False,
    with_parent: Annotated[bool, typer.Option("--end-with-parent", hidden=True)] = False,
) -> None:
    """Count reports, detect incidents, notify people; until SIGTERM or Ctrl-C.

    Serves /metrics, /livez and /readyz on worker.http_port (count), the next port (detect) and the one after (notify).
    """
    options: Options = ctx.obj
    configure()
    settings = options.settings
    if stage is not None:
        if with_parent:
            end_with_parent()
        raise typer.Exit(run_stage(settings, stage.value, apply_settings=apply_settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workers = Workers([*options.command_line, "worker", *(["--apply-settings"] if apply_settings else [])])
    try:
        code = workers.watch(stop)
    finally:
        workers.end()
    sys.exit(code)
