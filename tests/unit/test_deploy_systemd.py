"""The systemd unit fits how a worker starts, ends and where it finds its settings."""

from __future__ import annotations

from configparser import ConfigParser

from streams.worker import EXIT_SETTINGS, STOP_S
from tests.support.promql import ROOT

UNIT = ConfigParser(interpolation=None, strict=False)
UNIT.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capital letters
UNIT.read_string((ROOT / "deploy" / "systemd" / "tocsin.service").read_text())
SERVICE = UNIT["Service"]


def test_the_unit_runs_a_worker_with_the_settings_that_the_page_installs() -> None:
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    program, *arguments = SERVICE["ExecStart"].split()
    assert arguments == ["worker"]
    assert program.removesuffix("bin/tocsin") in page
    assert SERVICE["Environment"] == "TOCSIN_SETTINGS=/etc/tocsin/tocsin.toml"
    assert "deploy/tocsin.toml /etc/tocsin/tocsin.toml" in page
    assert SERVICE["EnvironmentFile"].removeprefix("-") in page


def test_what_no_restart_helps_is_not_restarted() -> None:
    assert SERVICE["Restart"] == "on-failure"
    assert SERVICE["RestartPreventExitStatus"] == str(EXIT_SETTINGS)


def test_a_worker_has_the_time_that_it_may_take_to_stop() -> None:
    assert float(SERVICE["TimeoutStopSec"]) > STOP_S + 5
    assert SERVICE["KillMode"] == "mixed"  # the parent tells its children itself
