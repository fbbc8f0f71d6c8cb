"""The reference of commands: what the command line says of itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from docs.pages import markdown
from streams.cli import app

_INTRODUCTION = """\
# Commands

The options of `tocsin` itself stand before the name of the command. A command that needs a cluster takes its address
from [the settings](settings.md#kafkabootstrap_servers). Findings and errors go to stderr, results to stdout.
"""


def page() -> str:
    """Return the page."""
    parts = [markdown.GENERATED, _INTRODUCTION]
    for context in contexts():
        command = context.command
        parts.append(f"## `{context.command_path}`\n")
        parts.append(f"```text\n{_usage(context)}\n```\n")
        parts += [markdown.paragraph(each) for each in inspect.cleandoc(command.help or "").split("\n\n") if each]
        described = [record for each in command.params if (record := each.get_help_record(context))]
        if described:
            parts.append(markdown.bullets((f"`{name}`", _said(text)) for name, text in described))
    return "\n".join(parts)


def contexts() -> Iterator[typer.Context]:
    """Yield `tocsin` and every command below it, each in the context that it is called in."""
    yield from _below(typer.Context(typer.main.get_command(app), info_name="tocsin"))


def _below(context: typer.Context) -> Iterator[typer.Context]:
    yield context
    group: Any = context.command  # typer names no public type for a group
    for name in getattr(group, "commands", {}):
        command = group.commands[name]
        if not command.hidden:
            yield from _below(typer.Context(command, parent=context, info_name=name))


def _said(text: str) -> str:
    """Return the help of an option; what typer adds to it in brackets stands in parentheses."""
    return markdown.text(re.sub(r" *\[([^\[\]]*)\]$", r" (\1)", text).strip())


def _usage(context: typer.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return " ".join([context.command_path, *(re.sub(r"[{}]", "", piece) for piece in pieces)])
