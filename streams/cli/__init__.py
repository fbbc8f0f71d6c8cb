"""The command `tocsin`: one file for each group of commands, put together here."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streams.backtest.series import BacktestError
from streams.broker import BrokerError
from streams.cli.backfill import backfill
from streams.cli.backtest import backtest
from streams.cli.broker import broker
from streams.cli.check_config import check_config
from streams.cli.context import ExitCode, Options, overrides
from streams.cli.demo import demo
from streams.cli.dlq import dlq
from streams.cli.explain import UnknownIncidentError, explain_incident
from streams.cli.export import export
from streams.cli.import_ import importers
from streams.cli.incidents import incidents
from streams.cli.produce import produce
from streams.cli.replay import replay
from streams.cli.simulate import simulate
from streams.cli.topics import topics
from streams.cli.web import web
from streams.cli.worker import worker
from streams.deadletters import DeadLetterError
from streams.demo import DemoError
from streams.health import PortError
from streams.importers import ImporterError
from streams.intake import IntakeError
from streams.reportlog import ReportLogError
from streams.scenarios import ScenarioError
from streams.settings import SettingsError
from streams.topics import TopicsError
from streams.web.model import ModelError

#: What can be wrong outside of this program; the message is for whoever called it.
EXPECTED = (
    SettingsError,
    TopicsError,
    PortError,
    BrokerError,
    DemoError,
    IntakeError,
    ReportLogError,
    ScenarioError,
    ImporterError,
    DeadLetterError,
    BacktestError,
    UnknownIncidentError,
    ModelError,
)


class Commands(TyperGroup):
    """Runs a command; settings that cannot be used end in their lines on stderr and not in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names."""
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            typer.echo(error, err=True)
            raise typer.Exit(ExitCode.USAGE) from None
        except OSError as error:
            if error.filename is None:
                raise  # no file of the user's; a pipe that nobody reads any more is typer's business
            typer.echo(f"{error.filename}: {error.strerror}", err=True)
            raise typer.Exit(ExitCode.USAGE) from None


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
COMMANDS = (demo, worker, web, broker, simulate, produce, replay, backfill, backtest, incidents, export, check_config)
for command in COMMANDS:
    app.command()(command)
app.command("explain")(explain_incident)
app.add_typer(topics, name="topics")
app.add_typer(importers, name="import")
app.add_typer(dlq, name="dlq")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tocsin {version('tocsin')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    settings: Annotated[
        Path | None,
        typer.Option(help="The settings file; else the one TOCSIN_SETTINGS names, else ./tocsin.toml if there is one."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="A setting that beats file and environment; repeatable."
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn a stream of user reports in Kafka into incidents.

    Exit codes: 0 fine, 1 findings, 2 wrong usage or settings, 70 a worker gave up.
    """
    ctx.obj = Options(settings, overrides(assignments or []))


def main() -> None:
    """Run the command line."""
    app(prog_name="tocsin")
