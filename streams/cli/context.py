"""What all commands share: the options before the command's name, the settings they lead to, the exit codes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import typer

from streams.settings import Settings, load


class ExitCode(IntEnum):
    """What the exit code of a command means."""

    FINE = 0
    FINDINGS = 1
    USAGE = 2
    GAVE_UP = 70


@dataclass(frozen=True)
class Options:
    """The options before the command's name; a command finds them in `typer.Context.obj`."""

    path: Path | None = None
    overrides: dict[str, str] = field(default_factory=dict)

    @property
    def command_line(self) -> list[str]:
        """The command line of a process with the same options; a command's name goes behind it."""
        own = [sys.executable, "-m", "streams.cli"]
        if self.path is not None:
            own += ["--settings", str(self.path)]
        return own + [part for key, value in self.overrides.items() for part in ("--set", f"{key}={value}")]

    @cached_property
    def settings(self) -> Settings:
        """The settings of this run.

        Raises
        ------
        SettingsError
            If a setting is wrong; leave it to the command group, which prints it and exits with `ExitCode.USAGE`.
        """
        return load(self.path, **self.overrides)


def overrides(assignments: list[str]) -> dict[str, str]:
    """Return the settings of `--set section.key=value` options by dotted key; of two for one key the last counts.

    Raises
    ------
    typer.BadParameter
        If one has no key or no equals sign.
    """
    pairs = [assignment.partition("=") for assignment in assignments]
    for key, equals, value in pairs:
        if not (key and equals):
            raise typer.BadParameter(f"{key + equals + value!r} is not of the form section.key=value")
    return {key.strip(): value.strip() for key, _, value in pairs}
