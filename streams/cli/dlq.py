"""`tocsin dlq`: dead letters, the records of the reports topic that are no reports."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Annotated

import typer

from streams import acls, deadletters
from streams.acls import Role
from streams.cli.context import ExitCode, Options, moment_ms
from streams.deadletters import Letter, Selection
from streams.decode import Reason
from streams.reporterhash import pseudonym_key
from streams.reporttime import format_time
from streams.settings import Settings
from streams.topics import Cluster, Topics

dlq = typer.Typer(
    no_args_is_help=True,
    help="Dead letters: records of the reports topic that are no reports; look at them, send them back.",
)

Reasons = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only those with this reason; repeatable.", show_default=False)
]
Since = Annotated[
    int | None,
    typer.Option(metavar="TIME", parser=moment_ms, help="Only records appended from then on; UTC if bare."),
]
PersonalData = Annotated[
    bool, typer.Option("--personal-data", help="Show the reporter, and all that may hold one, too.")
]


@dlq.command("list")
def list_(
    ctx: typer.Context,
    reasons: Reasons = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="How many of the newest to list.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document for each; no counts.")] = False,
) -> None:
    """Count dead letters by reason, and list the newest: id, append time, reason, detail. Nobody's data is shown."""
    settings = _settings(ctx, Role.READ)
    found = asyncio.run(deadletters.summaries(settings, Selection(frozenset(reasons or ()), since_ms=since)))
    newest = found[max(len(found) - limit, 0) :]
    if as_json:
        for letter in newest:
            typer.echo(json.dumps(_document(letter)))
        return
    if not found:
        typer.echo("no dead letters")
        return
    for reason, count in sorted(
        Counter(letter.reason for letter in found).items(), key=lambda each: (-each[1], each[0])
    ):
        typer.echo(f"{count:>9,}  {reason}")
    typer.echo()
    for letter in newest:
        typer.echo(f"{letter.id}  {format_time(letter.appended_ms)}  {letter.reason}: {letter.detail}")
    if len(newest) < len(found):
        typer.echo(f"and {len(found) - len(newest):,} older ones (--limit)")


@dlq.command()
def show(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Topic/partition/offset, as `list` shows it.")],
    personal_data: PersonalData = False,
    as_hex: Annotated[bool, typer.Option("--hex", help="Show the value as hexadecimal digits.")] = False,
) -> None:
    """Show a dead letter: where it comes from, why it is no report, the original record.

    Without --personal-data a pseudonym stands for the reporter and for the record's key, and what else may hold one is
    left out: what the producer put into headers, and a value that is no JSON object.
    """
    settings = _settings(ctx, Role.READ)
    letter = asyncio.run(deadletters.one(settings, id_))
    key = pseudonym_key(settings)
    for name, text in _document(letter).items():
        typer.echo(f"{name:>12}  {text}")
    hidden = "hidden (--personal-data)"
    if letter.key is not None:
        typer.echo(f"{'key':>12}  {_text(letter.key) if personal_data else deadletters.stand_in(letter.key, key)}")
    for header, value in letter.headers:
        typer.echo(f"{'header':>12}  {header}: {_text(value or b'') if personal_data else hidden}")
    if letter.value is None:
        typer.echo(f"{'value':>12}  null")
        return
    shown = letter.value if personal_data else deadletters.masked(letter.value, key)
    if shown is None:
        typer.echo(f"{'value':>12}  {len(letter.value)} bytes that are no JSON object, {hidden}")
    else:
        typer.echo(f"{'value':>12}  {shown.hex() if as_hex else _text(shown)}")


@dlq.command()
def redrive(
    ctx: typer.Context,
    reasons: Reasons = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this one; repeatable.", show_default=False)
    ] = None,
    since: Since = None,
    through: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="A filter that gets the values, one a line, and gives a line for each: 'jq -c ...'. No shell runs it.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
) -> None:
    """Send dead letters back as reports, once what was wrong is mended: here with a filter, or in Tocsin.

    Each goes to its partition with its key; one that names no time is given its original append time. They count as
    any report does: as late, if that is what they are by now. What would be no report again stays and is said on
    stderr, and the exit code is 1. A letter is taken away when its report is acknowledged: after an interruption
    some may be sent twice, and a reporter counts once in an epoch anyway.
    """
    settings = _settings(ctx, Role.REDRIVE)
    selection = Selection(frozenset(reasons or ()), frozenset(ids or ()), since)
    done = asyncio.run(deadletters.redrive(settings, selection, through, dry_run=dry_run))
    for left in done.left:
        typer.echo(f"left {left.id}: {left.reason}", err=True)
    sent = "would be sent" if dry_run else "sent"
    typer.echo(
        f"{sent} back to {Topics(settings.kafka.prefix).reports}: {done.sent:,}, of them late: {done.late:,}; "
        f"left: {len(done.left):,}"
    )
    if done.left:
        raise typer.Exit(ExitCode.FINDINGS)


def _settings(ctx: typer.Context, role: Role) -> Settings:
    """Return the settings, once the topics that dead letters come from and lie in are there."""
    options: Options = ctx.obj
    topics = Topics(options.settings.kafka.prefix)
    with Cluster(options.settings) as cluster:
        acls.require(cluster, options.settings, role, topics.reports, topics.dead_letters)
    return options.settings


def _document(letter: Letter) -> dict[str, str]:
    return {
        "id": letter.id,
        "appended": format_time(letter.appended_ms),
        "reason": letter.reason,
        "detail": letter.detail,
    }


def _text(value: bytes) -> str:
    """Return bytes as they can be printed: text, or else hexadecimal digits."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex()}"
    return text if text.isprintable() else repr(text)
