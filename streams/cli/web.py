"""`tocsin web`: the page and the API."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.context import Options
from streams.logs import configure
from streams.web.server import listen, run
from streams.worker import end_with_parent


def web(
    ctx: typer.Context,
    with_parent: Annotated[bool, typer.Option("--end-with-parent", hidden=True)] = False,
) -> None:
    """Show what is known: a page, an API for reading and a stream; until SIGTERM or Ctrl-C.

    Reads the public topics into the file web.database, which is made anew wherever it is missing. Serves on web.host
    and web.port, with /metrics, /livez and /readyz; who may see it is for a proxy before it to say.
    """
    options: Options = ctx.obj
    configure()
    settings = options.settings
    if with_parent:
        end_with_parent(None)
    run(settings, listen(settings))
