"""`tocsin backtest`: how well detection does on labelled data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from streams import display
from streams.backtest.figures import Figures, figures
from streams.backtest.labels import Label, read_labels
from streams.backtest.report import HEADING, html, notes, rows
from streams.backtest.run import Judged, judge
from streams.backtest.series import Series, read_series
from streams.cli import output
from streams.cli.context import Options
from streams.settings import Detect, Settings

_REFRESH_BINS = 256


def backtest(
    ctx: typer.Context,
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            exists=True,
            dir_okay=False,
            help="Report logs, or tables of counts (.csv, .csv.gz) with the columns timestamp, value, and service or "
            "region or both.",
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="When services really failed, as JSON."),
    ],
    detector: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:PARAMETER=VALUE,...]",
            help="A detector, with parameters that beat those of the settings; repeatable. That of the settings if "
            "not given.",
        ),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with tables and charts too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say how well detectors do on labelled data: false incidents, share detected, delays, clearing.

    Each file is judged as a deployment with these settings would: detector, policies and incidents are the workers'.
    A table whose rows are further apart than a bin is judged in bins of that length.
    """
    options: Options = ctx.obj
    settings = options.settings
    asked = {text: detect_settings(settings, text) for text in detector or [settings.detect.detector]}
    series = [read_series(path, settings) for path in data]
    known = read_labels(labels, [each.stem for each in series])
    _tell_unused(labels, known, series)
    judged = _judged(series, asked, known)
    found = [figures(name, own, known) for name, own in judged.items()]
    if html_file is not None:
        title = f"Backtest: {', '.join(path.name for path in data)}"
        with output.opened(html_file) as file:
            file.write(html(title, found, judged, known).encode())
    if as_json:
        typer.echo(msgspec.json.encode({"version": 1, "detectors": [each.as_json() for each in found]}))
        return
    _print(found)


def detect_settings(settings: Settings, text: str) -> Detect:
    """Return the settings of detection for `--detector`.

    Raises
    ------
    typer.BadParameter
        If there is no such detector, or a parameter is not its own or out of range.
    """
    name, _, rest = text.partition(":")
    given: dict[str, Any] = settings.detect.model_dump()
    pairs = [each.partition("=") for each in rest.split(",") if each]
    if name not in _detectors():
        raise typer.BadParameter(f"{name!r} is none of {', '.join(_detectors())}", param_hint="--detector")
    given["detector"] = name
    if pairs:
        given[name] = {**given.get(name, {}), **{key.strip(): value.strip() for key, _, value in pairs}}
    try:
        return Detect.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(each) for each in problem["loc"])
        raise typer.BadParameter(f"{text!r}: {place}: {problem['msg']}", param_hint="--detector") from None


def _detectors() -> Sequence[str]:
    names: Sequence[str] = Detect.model_json_schema()["properties"]["detector"]["enum"]
    return names


def _tell_unused(file: Path, known: Sequence[Label], series: Sequence[Series]) -> None:
    keys = {key for each in series for key in each.keys}
    unused = [each for each in known if not any(each.covers(key) for key in keys)]
    for each in unused:
        where = each.service if each.region is None else f"{each.service} in {each.region}"
        typer.echo(f"{file}: no data of {where}: its label is left out", err=True)


def _judged(series: Sequence[Series], asked: dict[str, Detect], labels: Sequence[Label]) -> dict[str, Sequence[Judged]]:
    total = len(asked) * sum(len(each.bins) for each in series)
    result: dict[str, Sequence[Judged]] = {}
    done = 0
    with _progress(total) as told:
        for name, detect in asked.items():
            own = []
            for each in series:
                own.append(judge(each, detect, labels, partial(told, name, done)))
                done += len(each.bins)
            result[name] = own
    return result


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int, int], None]]:
    """Show on standard error, if that is a terminal, how many bins are judged."""
    if not sys.stderr.isatty():
        yield lambda _name, _before, _done: None
        return
    columns = (TextColumn("judging with {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("...", total=total)

        def told(name: str, before: int, done: int) -> None:
            if done % _REFRESH_BINS == 0:
                bars.update(task, completed=before + done, description=name)

        yield told


def _print(found: Sequence[Figures]) -> None:
    columns = rows(found)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(HEADING[0])
    for column in columns:
        table.add_column(column[0], justify="right")
    for place, heading in enumerate(HEADING[1:], 1):
        table.add_row(heading, *(column[place] for column in columns))
    display.plain(table)
    for note in notes(found):
        display.plain(note)
