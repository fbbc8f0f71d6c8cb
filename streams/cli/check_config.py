"""`tocsin check-config`: whether the settings can be used, and what they are."""

from __future__ import annotations

import json
from typing import Any

import typer

from streams.cli.context import Options
from streams.policy import Policies
from streams.settings import Settings


def check_config(ctx: typer.Context) -> None:
    """Print the settings that hold here, as a settings file, and their fingerprints.

    Exits with 2 and a line for each problem where they cannot be used.
    """
    options: Options = ctx.obj
    settings = options.settings
    Policies(settings.policy, settings.count.bin_ms)
    typer.echo(settings_file(settings), nl=False)


def settings_file(settings: Settings) -> str:
    """Return a settings file (TOML) that says the same as `settings`."""
    lines = [
        f"# counting {settings.counting}: a worker with another one stops before it writes counts",
        f"# detecting {settings.detecting}: a worker with another one stops unless told --apply-settings",
    ]
    lines += [f"{key} = {_toml(value)}" for key, value in _flat(settings.model_dump(exclude_none=True))]
    return "\n".join(lines) + "\n"


def _flat(table: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        pairs += _flat(value, f"{path}{key}.") if isinstance(value, dict) else [(path + key, value)]
    return pairs


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans look the same in TOML
