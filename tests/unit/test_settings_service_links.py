"""What Kubernetes tells of services called tocsin is no setting; what only looks like it is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.settings import SettingsError, load

# What a container finds of a service "tocsin" with one unnamed port, and of a service "tocsin-worker" with a named one.
LINKS = {
    "TOCSIN_SERVICE_HOST": "10.0.0.11",
    "TOCSIN_SERVICE_PORT": "6066",
    "TOCSIN_PORT": "tcp://10.0.0.11:6066",
    "TOCSIN_PORT_6066_TCP": "tcp://10.0.0.11:6066",
    "TOCSIN_PORT_6066_TCP_PROTO": "tcp",
    "TOCSIN_PORT_6066_TCP_PORT": "6066",
    "TOCSIN_PORT_6066_TCP_ADDR": "10.0.0.11",
    "TOCSIN_WORKER_SERVICE_HOST": "10.0.0.12",
    "TOCSIN_WORKER_SERVICE_PORT": "6066",
    "TOCSIN_WORKER_SERVICE_PORT_HTTP": "6066",
    "TOCSIN_WORKER_PORT": "tcp://10.0.0.12:6066",
    "TOCSIN_WORKER_PORT_6066_TCP": "tcp://10.0.0.12:6066",
    "TOCSIN_WORKER_PORT_6066_TCP_PROTO": "tcp",
    "TOCSIN_WORKER_PORT_6066_TCP_PORT": "6066",
    "TOCSIN_WORKER_PORT_6066_TCP_ADDR": "10.0.0.12",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def test_the_links_of_services_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in LINKS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TOCSIN_WORKER__HTTP_PORT", "8000")
    assert load().worker.http_port == 8000


@pytest.mark.parametrize("variable", sorted(LINKS.keys() - {"TOCSIN_SERVICE_HOST", "TOCSIN_WORKER_SERVICE_HOST"}))
def test_alone_the_same_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, LINKS[variable])
    with pytest.raises(SettingsError, match=f"environment variable {variable}"):
        load()


def test_a_typing_error_beside_the_links_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in LINKS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TOCSIN_WORKER_HTTP_PORT", "8000")
    with pytest.raises(SettingsError, match="environment variable TOCSIN_WORKER_HTTP_PORT"):
        load()


def test_a_service_whose_name_runs_into_a_setting_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # of a service called "tocsin-worker--http"
    monkeypatch.setenv("TOCSIN_WORKER__HTTP_SERVICE_HOST", "10.0.0.13")
    monkeypatch.setenv("TOCSIN_WORKER__HTTP_PORT", "8000")
    with pytest.raises(SettingsError, match=r"worker\.http_service_host"):
        load()


def test_the_links_of_other_services_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SERVICE_HOST", "10.0.0.14")
    monkeypatch.setenv("KAFKA_PORT", "tcp://10.0.0.14:9092")
    assert load().kafka.bootstrap_servers == "127.0.0.1:9092"
