"""The systemd units fit how a worker and the page start, end and where they find their settings."""

from __future__ import annotations

from configparser import ConfigParser, SectionProxy
from pathlib import Path

import pytest

from streams.settings import load
from streams.worker import EXIT_SETTINGS, STOP_S
from tests.support.promql import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = {"tocsin.service": "worker", "tocsin-web.service": "web"}
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
every_unit = pytest.mark.parametrize("name", UNITS)


def service(name: str) -> SectionProxy:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capital letters
    unit.read_string((FOLDER / name).read_text())
    return unit["Service"]


def environment(name: str) -> dict[str, str]:
    """Return what the unit sets itself; a unit may do so more than once."""
    lines = (FOLDER / name).read_text().splitlines()
    set_ = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    return dict(each.split("=", 1) for each in set_)


def test_each_unit_is_tested() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(UNITS)


@every_unit
def test_a_unit_runs_its_command_with_the_settings_that_the_page_installs(name: str) -> None:
    program, *arguments = service(name)["ExecStart"].split()
    assert arguments == [UNITS[name]]
    assert program.removesuffix("bin/tocsin") in PAGE
    assert f"deploy/systemd/{name} /etc/systemd/system/{name}" in PAGE
    assert environment(name)["TOCSIN_SETTINGS"] == "/etc/tocsin/tocsin.toml"
    assert "deploy/tocsin.toml /etc/tocsin/tocsin.toml" in PAGE
    assert service(name)["EnvironmentFile"].removeprefix("-") in PAGE


@every_unit
def test_what_no_restart_helps_is_not_restarted(name: str) -> None:
    assert service(name)["Restart"] == "on-failure"
    assert service(name)["RestartPreventExitStatus"] == str(EXIT_SETTINGS)


def test_a_worker_has_the_time_that_it_may_take_to_stop() -> None:
    worker = service("tocsin.service")
    assert float(worker["TimeoutStopSec"]) > STOP_S + 5
    assert worker["KillMode"] == "mixed"  # the parent tells its children itself


def test_the_page_has_the_rights_of_a_worker_and_a_folder_for_its_read_model(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, web = service("tocsin.service"), service("tocsin-web.service")
    own = {"ExecStart", "Environment", "KillMode", "CacheDirectory", "CacheDirectoryMode"}
    assert {key: value for key, value in web.items() if key not in own} == {
        key: value for key, value in worker.items() if key not in own
    }
    for key, value in environment("tocsin-web.service").items():
        if key != "TOCSIN_SETTINGS":
            monkeypatch.setenv(key, value)
    settings = load(ROOT / "deploy" / "tocsin.toml").web
    assert settings.host == "127.0.0.1"  # a machine, unlike a container, is open to its network
    assert Path(settings.database).parent == Path("/var/cache") / web["CacheDirectory"]
