"""docker-compose.yml and the Dockerfile, as far as they can be held without a container engine."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streams.settings import load
from streams.web.site import Health
from streams.worker import STOP_S
from tests.support.promql import ROOT
from tests.support.webserver import web_server

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETTINGS = ROOT / "deploy" / "tocsin.toml"
every_service = pytest.mark.parametrize("name", SERVICES)


def running(command: str) -> list[str]:
    """Return the services that run a command of Tocsin."""
    return [name for name, service in SERVICES.items() if service.get("command") == [command]]


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


# --- compose --------------------------------------------------------------------------------------------------------


def test_the_file_fits_the_compose_specification() -> None:
    # as data: the package itself cannot be imported beside the version of click that Faust needs
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None
    assert spec.origin is not None
    schema = json.loads(Path(spec.origin).with_name("builtin_schemas").joinpath("vendor/compose-spec.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(COMPOSE)


@every_service
def test_images_are_of_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_the_image_of_ours_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    assert built == {f"tocsin:{project['version']}"}


def test_kafka_is_of_the_version_that_the_tests_run_on() -> None:
    jars = tomllib.loads((ROOT / "streams" / "embedded" / "jgo.toml").read_text())
    version = jars["dependencies"]["coordinates"][0].rsplit(":", 1)[1]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


@every_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_every_service_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    # the image's asks a worker's port
    of_the_image = service.get("command") == ["worker"] and "HEALTHCHECK" in DOCKERFILE
    ends_by_itself = service["restart"] == "no"
    assert of_the_image or ends_by_itself or service["healthcheck"]["test"][0] == "CMD"


@every_service
def test_every_service_waits_until_what_it_needs_is_there(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        ends_by_itself = SERVICES[other]["restart"] == "no"
        assert how["condition"] == ("service_completed_successfully" if ends_by_itself else "service_healthy")


@every_service
def test_no_service_has_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    # the image of Kafka writes its settings into its own folder when it starts
    assert service.get("read_only", False) is (name != "kafka")


@every_service
def test_whatever_is_mounted_is_there_and_cannot_be_written(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source, _, *mode = mount.split(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_prometheus_asks_every_worker_and_the_page_where_they_listen() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    settings = load(SETTINGS)
    asked = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}
    assert asked == {
        "tocsin": [{"targets": [f"{name}:{settings.worker.http_port}" for name in running("worker")]}],
        "tocsin-web": [{"targets": [f"{name}:{settings.web.port}" for name in running("web")]}],
    }


def test_the_workers_settings_are_good_and_reach_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES["worker-1"]["environment"]
    for variable, value in environment.items():
        if variable != "TOCSIN_SETTINGS":  # a path of the container
            monkeypatch.setenv(variable, value)
    settings = load(SETTINGS)
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://{settings.kafka.bootstrap_servers}" in listeners.split(",")
    assert settings.kafka.replication_factor == 1
    assert settings.worker.http_host == "0.0.0.0"
    assert f"./deploy/tocsin.toml:{environment['TOCSIN_SETTINGS']}:ro" in SERVICES["worker-1"]["volumes"]


@pytest.mark.parametrize("name", running("worker"))
def test_a_worker_has_the_time_that_it_may_take_to_stop(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) > STOP_S + 5


def test_the_page_is_open_where_it_listens_and_asked_there_for_its_health() -> None:
    web, settings = SERVICES["web"], load(SETTINGS).web
    assert settings.host == "0.0.0.0"
    assert web["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert f"http://127.0.0.1:{settings.port}/readyz" in web["healthcheck"]["test"][-1]
    assert web["environment"] == SERVICES["worker-1"]["environment"]


def test_the_page_may_write_the_folder_of_its_read_model() -> None:
    """A named volume takes over whose the folder of the image is; without one it would be root's."""
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["web"]["volumes"])
    folder = str(Path(load(SETTINGS).web.database).parent)
    assert mounts[folder] in COMPOSE["volumes"]
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert f"--chown={user} /build/cache {folder}\n" in DOCKERFILE


HEALTH_CHECKS = [name for name, each in SERVICES.items() if "python" in each.get("healthcheck", {}).get("test", [])]


@pytest.mark.parametrize("name", HEALTH_CHECKS)
@pytest.mark.parametrize(("health", "code"), [(("live", None, 0.5), 0), (("stale", "no newer level", 400.0), 1)])
def test_a_health_check_in_python_says_what_readyz_does(name: str, health: Health, code: int, tmp_path: Path) -> None:
    """What is run is what the file says, but for the port."""
    program, option, code_of_check = SERVICES[name]["healthcheck"]["test"][1:]
    assert (program, option) == ("python", "-c")
    with web_server(tmp_path, []) as server:
        server.health = health
        asked = code_of_check.replace(f"http://127.0.0.1:{load(SETTINGS).web.port}", server.address)
        assert asked != code_of_check
        assert subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False).returncode == code


# --- image ----------------------------------------------------------------------------------------------------------

#: Source paths of each COPY that takes from the repository.
COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
    for source in line.split()[:-1]
]


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_is_there_and_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    last = [line for line in lines if fnmatch.fnmatchcase(source, line.removeprefix("!"))][-1]
    assert last == f"!{source}"


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["project"]["readme"]}
    assert needed | {"pyproject.toml", *project["project"]["license-files"]} <= set(COPIED)


def test_the_image_runs_the_python_that_the_tests_run_on_and_is_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0])


def test_the_image_runs_as_nobody_in_particular_and_without_what_built_it() -> None:
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER \d{4,}:\d{4,}$", final, flags=re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["tocsin"\]$', final, flags=re.MULTILINE)
    assert re.search(r"^RUN|\b(apt-get|pip|uv)\b", final, flags=re.MULTILINE) is None


def test_the_health_check_asks_where_a_worker_listens() -> None:
    settings = load(SETTINGS)
    assert f"http://127.0.0.1:{settings.worker.http_port}/readyz" in DOCKERFILE
    assert f"\nEXPOSE {settings.worker.http_port} {settings.web.port}\n" in DOCKERFILE


# --- lock -----------------------------------------------------------------------------------------------------------


def pins(lock: str) -> list[Requirement]:
    lines = re.findall(r"^[a-z0-9][^\n]*==[^\n\\]+", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return [Requirement(line) for line in lines]


def test_the_image_gets_the_versions_that_the_tests_run_with() -> None:
    tested = {(pin.name, str(pin.specifier)) for pin in pins("requirements.lock")}
    assert {(pin.name, str(pin.specifier)) for pin in pins("requirements-run.lock")} <= tested


def test_the_image_gets_what_is_needed_at_run_time_and_nothing_for_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = {canonicalize_name(pin.name) for pin in pins("requirements-run.lock")}
    assert {canonicalize_name(Requirement(line).name) for line in project["project"]["dependencies"]} <= locked
    others = [*project["project"]["optional-dependencies"]["embedded"], *project["dependency-groups"]["dev"]]
    # the libraries that it needs themselves may be among them
    assert locked & {Requirement(line).name for line in others} <= {"packaging"}


def test_every_file_that_is_installed_is_held_to_a_hash() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements-run.lock").read_text())
    assert len(blocks) == len(pins("requirements-run.lock"))
    assert all("--hash=sha256:" in block for block in blocks)
    assert DOCKERFILE.count("--require-hashes") == len(re.findall(r"\b(?:pip install|uv build)\b", DOCKERFILE)) - 1
    assert "--no-deps --compile-bytecode dist/*.whl" in DOCKERFILE  # the one without: what was just built
