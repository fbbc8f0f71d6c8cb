"""What all commands share: the options before the command's name, the settings they lead to, the exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import typer

from streams.scenarios import Scenario
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

    def advised(self, scenario: Scenario) -> Options:
        """Return options with what the scenario asks for where the settings say nothing; say so on stderr."""
        advice = scenario.advice(self.settings)
        if "policy" in advice:
            typer.echo(f"the settings have no [[policy]]; taking the scenario's: {limits(scenario)}", err=True)
        return replace(self, overrides={**self.overrides, **advice})

    @cached_property
    def settings(self) -> Settings:
        """The settings of this run.

        Raises
        ------
        SettingsError
            If a setting is wrong; leave it to the command group, which prints it and exits with `ExitCode.USAGE`.
        """
        return load(self.path, **self.overrides)


def limits(scenario: Scenario) -> str:
    """Return the limits that a scenario is meant for, in words."""
    return "; ".join(
        f"{policy.service} in {policy.region} raises from {policy.raise_above}, clears below {policy.clear_below}"
        for policy in scenario.file.policies
    )


def moment_ms(text: str) -> int:
    """Return the time of an option such as `--since`, in milliseconds since the Unix epoch; UTC if it has no offset.

    Raises
    ------
    typer.BadParameter
        If it is no time of ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date or time such as 2025-05-24 or 2025-05-24T12:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within this context SIGTERM does what Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
