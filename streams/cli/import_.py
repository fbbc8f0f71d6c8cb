"""`tocsin import`: tables of others as report logs."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from streams.cli.context import ExitCode, Options
from streams.cli.output import STANDARD, write_log
from streams.decode import ReportError, read_report
from streams.importers import FIELDS, ImportedReport, Refusal, Table, mapping, report_log
from streams.importers.pge import Outages

importers = typer.Typer(
    name="import",
    no_args_is_help=True,
    help="Make report logs of tables, for `tocsin replay`, `backfill` and `produce`.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The table (CSV), also compressed (.gz); - is stdin.")]
Out = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="OUT", dir_okay=False, help="The report log (.jsonl, or .gz to compress it)."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first row that is no report; no file is written.")]
Rejects = Annotated[
    Path | None,
    typer.Option(metavar="FILE", dir_okay=False, help="Write rows that are no reports there, as CSV, not to stderr."),
]
Sort = Annotated[bool, typer.Option("--sort", help="Sort the reports by time; holds all of them in memory.")]
Column = typer.Option(metavar="COLUMN", show_default=False)


class _StoppedError(Exception):
    """A row is no report, and `--strict` was given."""


@importers.command()
def pge(
    ctx: typer.Context,
    file: File,
    out: Out = STANDARD,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="One region for all outages; else each town is one.")
    ] = None,
    sort: Sort = False,
    strict: Strict = False,
    rejects: Rejects = None,
) -> None:
    """Make a report log of electricity outages of Pacific Gas and Electric.

    The columns are id, region, start, first_seen and cause, times in Unix seconds. Each outage is one report of the
    service `pge`, of the time when it was first seen; its start goes along as a field that Tocsin ignores.
    Towns become names such as san-jose; those that differ in case and punctuation alone become one.
    """
    options: Options = ctx.obj
    if region is not None:
        _require_region(region)
    with _table(file) as table:
        outages = Outages(table, region)
        code = _import(options, table, outages, out, sort=sort, strict=strict, rejects=rejects)
        for name, towns in sorted(outages.towns.items()):
            if region is None and len(towns) > 1:
                typer.echo(f"taken for one region, {name}: {', '.join(sorted(towns))}", err=True)
    raise typer.Exit(code)


@importers.command("csv")
def csv_(
    ctx: typer.Context,
    file: File,
    out: Out = STANDARD,
    service: Annotated[str | None, Column] = None,
    region: Annotated[str | None, Column] = None,
    time: Annotated[str | None, Column] = None,
    kind: Annotated[str | None, Column] = None,
    reporter: Annotated[str | None, Column] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option("--constant", metavar="FIELD=VALUE", help="What a field is in every report; repeatable."),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="iso (the default), unix-s, unix-ms, or a pattern such as '%d.%m.%Y %H:%M:%S'."
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="The clock of times without an offset, such as Europe/Berlin or UTC."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(metavar="CHARACTER", help="What separates columns; a comma.")] = None,
    slugs: Annotated[
        bool,
        typer.Option("--slugs", help="Make names of services, regions and kinds: San José is san-jose."),
    ] = False,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", exists=True, dir_okay=False, help="The same, and more, as TOML."),
    ] = None,
    sort: Sort = False,
    strict: Strict = False,
    rejects: Rejects = None,
) -> None:
    """Make a report log of a table whose first row names the columns.

    --service, --region, --time, --kind and --reporter name the columns; --constant gives what is the same in every row.
    Rows that are no reports are said on stderr with their line and the reason, and make the exit code 1.
    """
    options: Options = ctx.obj
    columns = {"service": service, "region": region, "kind": kind, "reporter": reporter, "time": time}
    given: dict[str, Any] = {
        "columns": {field: column for field, column in columns.items() if column is not None},
        "constants": _constants(constants or []),
        "time": {key: value for key, value in (("format", time_format), ("timezone", timezone)) if value is not None},
    }
    if delimiter is not None:
        given["delimiter"] = "\t" if delimiter == "\\t" else delimiter
    if slugs:
        given["slugs"] = True
    mapped = mapping(map_file, given)
    with _table(file, mapped.delimiter) as table:
        code = _import(options, table, mapped.reports(table), out, sort=sort, strict=strict, rejects=rejects)
    raise typer.Exit(code)


def _require_region(region: str) -> None:
    try:
        read_report(b'{"service":"x","region":"%s"}' % region.encode())
    except ReportError as error:
        raise typer.BadParameter(error.detail, param_hint="--region") from None


def _constants(assignments: list[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    for field, equals, value in pairs:
        if field not in FIELDS or not equals:
            raise typer.BadParameter(
                f"{field + equals + value!r} is not of the form FIELD=VALUE; fields are {', '.join(FIELDS)}",
                param_hint="--constant",
            )
    return {field: value for field, _, value in pairs}


@contextmanager
def _table(path: Path, delimiter: str = ",") -> Iterator[Table]:
    with ExitStack() as closing:
        file: TextIO
        if path == STANDARD:
            file = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="")
            closing.callback(file.detach)  # else it would close standard input
        elif path.suffix == ".gz":
            file = closing.enter_context(
                gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
            )
        else:
            file = closing.enter_context(path.open(encoding="utf-8-sig", errors="surrogateescape", newline=""))
        yield Table(file, "stdin" if path == STANDARD else str(path), delimiter)


def _import(
    options: Options,
    table: Table,
    outcomes: Iterable[ImportedReport | Refusal],
    out: Path,
    *,
    sort: bool,
    strict: bool,
    rejects: Path | None,
) -> ExitCode:
    """Write the log and say what became of the rows; return the exit code."""
    settings = options.settings
    taken = refused = 0

    def reports(refuse: Callable[[Refusal], None]) -> Iterator[ImportedReport]:
        nonlocal taken, refused
        for outcome in outcomes:
            if isinstance(outcome, ImportedReport):
                taken += 1
                yield outcome
            else:
                refused += 1
                refuse(outcome)
                if strict:
                    raise _StoppedError

    with _refusals(table, rejects) as refuse:
        found: Iterable[ImportedReport] = reports(refuse)
        try:
            if sort:
                found = sorted(found, key=lambda report: report.time_ms)
            write_log(out, report_log(found, settings, table.name))
        except _StoppedError:
            typer.echo("stopped there (--strict)", err=True)
            return ExitCode.FINDINGS
    typer.echo(f"read {taken + refused:,} rows: {taken:,} taken as reports, {refused:,} refused", err=True)
    return ExitCode.FINDINGS if refused else ExitCode.FINE


@contextmanager
def _refusals(table: Table, rejects: Path | None) -> Iterator[Callable[[Refusal], None]]:
    """Yield what is to be done with a row that is no report."""
    if rejects is None:
        yield lambda refusal: typer.echo(f"{table.name}:{refusal.row.line}: {refusal.reason}", err=True)
        return
    with rejects.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["tocsin_line", "tocsin_reason", *table.header])
        yield lambda refusal: writer.writerow([refusal.row.line, refusal.reason, *refusal.row.fields])
