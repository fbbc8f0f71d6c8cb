"""Prometheus and Alertmanager with the files of deploy/, watching real workers and a real page on a real Kafka.

The files are used as they are but for what a container network gives: addresses become loopback ports, and Prometheus
asks each second instead of each quarter of a minute. Bins last a second, so that there is something to see.
"""

from __future__ import annotations

import os
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer
from typer.testing import CliRunner

from streams.broker import EmbeddedBroker
from streams.cli import app
from tests.support.loopback import free_port, get_json, running
from tests.support.programs import program
from tests.support.promql import ROOT, Query, alerts, dashboard_queries, rules, runbook_queries
from tests.support.reports import report
from tests.support.waiting import until

DEPLOY = ROOT / "deploy"
PREFIX = "deployed"
QUICK = {
    "kafka.prefix": PREFIX,
    "kafka.replication_factor": "1",
    "worker.http_host": "127.0.0.1",
    "web.host": "127.0.0.1",
    "count.bin_s": "1",
    "count.window_bins": "5",
    "count.epoch_s": "5",
    "count.allowed_lateness_s": "1",
    "count.idle_tick_s": "0.5",
    "detect.detector": "limit",
    "detect.limit.above": "3",
}
#: What has no series here: what has not happened, and what the limit, unlike other detectors, does not expect.
ABSENT = (
    "tocsin_count_gaps_total",
    "tocsin_detect_gaps_total",
    "tocsin_web_facts_repeated_total",
    "tocsin_web_facts_contradicted_total",
    "tocsin_web_facts_unreadable_total",
    "ALERTS{alertname=~",
    "tocsin_expected_reports",
)


def tocsin(broker: EmbeddedBroker, settings: dict[str, str]) -> list[str]:
    """Return the options of a command with the deployment's file and these settings."""
    set_ = {**settings, "kafka.bootstrap_servers": broker.bootstrap_servers}
    return [
        "--settings",
        str(DEPLOY / "tocsin.toml"),
        *(part for key in set_ for part in ("--set", f"{key}={set_[key]}")),
    ]


@contextmanager
def outage(broker: EmbeddedBroker) -> Iterator[None]:
    """Have twenty people a second report one service down, and one of them in a way that nobody understands."""
    over = threading.Event()

    def write() -> None:
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            producer.send(f"{PREFIX}.reports", b"not JSON")
            number = 0
            while not over.wait(0.05):
                number += 1
                producer.send(f"{PREFIX}.reports", report("x", "US", reporter=f"r{number}"), f"r{number}".encode())

    thread = threading.Thread(target=write, name="outage")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def watched(targets: dict[str, list[str]], folder: Path) -> Iterator[tuple[str, str]]:
    """Run Prometheus, which asks these targets of each job, and Alertmanager; yield their addresses."""
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    assert [job["job_name"] for job in config["scrape_configs"]] == list(targets)
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = targets[job["job_name"]]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    (folder / "rules").symlink_to(DEPLOY / "prometheus" / "rules")
    alerting = [
        program("alertmanager"),
        f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
        f"--web.listen-address={alertmanager}",
    ]
    scraping = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={prometheus}",
        "--rules.alert.resend-delay=1s",  # it looks for Alertmanager only after the first alert, and again in a minute
    ]
    with (
        running(alerting, f"http://{alertmanager}/-/ready", folder / "alertmanager.log"),
        running(scraping, f"http://{prometheus}/-/ready", folder / "prometheus.log"),
    ):
        yield f"http://{prometheus}/api/v1", f"http://{alertmanager}/api/v2"


@contextmanager
def deployed(broker: EmbeddedBroker, folder: Path) -> Iterator[dict[str, list[str]]]:
    """Create the topics, run a worker with all stages, one with count alone, and the page; yield where each job is."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    created = CliRunner().invoke(app, [*tocsin(broker, QUICK), "topics", "create"])
    assert created.exit_code == 0, created.output
    commands = [("tocsin", ["worker"]), ("tocsin", ["worker", "count"]), ("tocsin-web", ["web"])]
    targets: dict[str, list[str]] = {job: [] for job, _ in commands}
    with ExitStack() as processes:
        for job, command in commands:
            port = free_port()
            own = {"worker.http_port": str(port), "web.port": str(port), "web.database": str(folder / "web.sqlite3")}
            options = tocsin(broker, {**QUICK, **own})
            url, log = f"http://127.0.0.1:{port}/livez", folder / f"{command[0]}-{port}.log"
            processes.enter_context(
                running([sys.executable, "-m", "streams.cli", *options, *command], url, log, environment)
            )
            targets[job].append(f"127.0.0.1:{port}")
        yield targets


@pytest.fixture
def monitoring(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of Prometheus and Alertmanager, which watch two workers and a page during an outage."""
    with (
        deployed(broker, tmp_path) as targets,
        outage(broker),
        watched(targets, tmp_path) as addresses,
    ):
        yield addresses


def test_what_is_deployed_watches_workers_and_page_and_its_dashboards_show_them(monitoring: tuple[str, str]) -> None:
    prometheus, alertmanager = monitoring

    def ask(expr: str) -> dict[str, Any]:
        answer: dict[str, Any] = get_json(f"{prometheus}/query?{urllib.parse.urlencode({'query': expr})}")
        return answer

    def has_all_stages() -> bool:
        ready = ask("sum(tocsin_ready)")["data"]["result"]
        return bool(ready) and float(ready[0]["value"][1]) == 4

    def shows_the_outage() -> bool:
        ready = ask("tocsin_web_ready == 1 and on (instance) tocsin_web_judged_seconds > 0")["data"]["result"]
        return [each["metric"]["job"] for each in ready] == ["tocsin-web"]

    def empty(queries: list[Query]) -> list[Query]:
        return [each for each in queries if not ask(each.expr)["data"]["result"]]

    until(has_all_stages, "both workers are scraped, and their four stages are ready", 60)
    until(lambda: ask('max(tocsin_state{state=~"open|held"}) == 1')["data"]["result"], "the outage is an incident", 60)
    until(shows_the_outage, "the page is up to date with it", 60)
    # a page that answers is no worker, and the other way round
    assert {each["metric"]["job"]: each["value"][1] for each in ask("sum by (job) (up)")["data"]["result"]} == {
        "tocsin": "2",
        "tocsin-web": "1",
    }

    queries = [*dashboard_queries(), *runbook_queries()]
    refused = {each.place: answer["error"] for each in queries if (answer := ask(each.expr))["status"] != "success"}
    assert refused == {}
    telling = [each for each in dashboard_queries() if not any(name in each.expr for name in ABSENT)]
    with suppress(AssertionError):  # the next line says which do not
        until(lambda: not empty(telling), "every dashboard shows something")
    assert empty(telling) == []

    groups = get_json(f"{prometheus}/rules")["data"]["groups"]
    found = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert found == {rule.get("alert") or rule["record"]: "ok" for rule in rules()}

    def received() -> dict[str, list[str]]:
        told = get_json(f"{alertmanager}/alerts")
        return {each["labels"]["alertname"]: [to["name"] for to in each["receivers"]] for each in told}

    assert until(received, "the dead man's switch has arrived") == {"TocsinDeadMan": ["dead-man"]}
    assert received().keys() < {rule["alert"] for rule in alerts()}
