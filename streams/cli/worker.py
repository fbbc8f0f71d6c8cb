"""`tocsin worker`: the stages at work."""

from __future__ import annotations

import signal
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.context import Options
from streams.health import listen, listen_at
from streams.logs import configure
from streams.worker import Workers, end_with_parent, run_stage, run_stages


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
    health_socket: Annotated[Path | None, typer.Option("--health-socket", hidden=True)] = None,
) -> None:
    """Count reports, detect incidents, notify people; until SIGTERM or Ctrl-C.

    Serves /metrics, /livez and /readyz on worker.http_port, for all that it runs.
    """
    options: Options = ctx.obj
    configure()
    settings = options.settings
    listener = listen(settings.worker) if health_socket is None else listen_at(health_socket)
    if stage is not None:
        if with_parent:
            end_with_parent(health_socket)
        raise typer.Exit(run_stage(settings, stage.value, listener, apply_settings=apply_settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workers = Workers([*options.command_line, "worker", *(["--apply-settings"] if apply_settings else [])])
    sys.exit(run_stages(workers, listener, stop))
