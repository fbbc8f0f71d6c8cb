"""The configuration of Alertmanager: each alert goes where its severity says, and causes hide their effects."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.loopback import free_port, running
from tests.support.programs import program
from tests.support.promql import ROOT, alerts
from tests.support.waiting import until

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RECEIVERS = {"page": "page", "ticket": "ticket", "none": "dead-man"}


def test_amtool_accepts_the_configuration() -> None:
    done = subprocess.run([program("amtool"), "check-config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_goes_to_the_receiver_of_its_severity(rule: dict[str, Any]) -> None:
    severity = rule["labels"]["severity"]
    labels = [f"alertname={rule['alert']}", f"severity={severity}", "job=tocsin"]
    assert routed(*labels) == RECEIVERS[severity]


def test_an_alert_that_nobody_has_thought_of_is_a_ticket() -> None:
    assert routed("alertname=Unheard", "severity=strange") == "ticket"


def routed(*labels: str) -> str:
    command = [program("amtool"), "config", "routes", "test", "--config.file", str(CONFIG), *labels]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_alert_that_is_named_exists() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    matchers = [matcher for rule in config["inhibit_rules"] for side in rule.values() for matcher in side]
    named = {name for matcher in matchers if "alertname" in matcher for name in matcher.split('"')[1].split("|")}
    assert named - {"Tocsin.+"} <= {rule["alert"] for rule in alerts()}


CASES = [
    ("TocsinDown", {}, "TocsinStageDown", {"stage": "count"}, True),
    ("TocsinDown", {}, "TocsinWorkerDown", {"instance": "w1"}, True),
    ("TocsinDown", {}, "TocsinDeadMan", {}, False),
    ("TocsinDown", {}, "TocsinDown", {}, False),
    ("TocsinDown", {"job": "another"}, "TocsinStageDown", {"stage": "count"}, False),
    ("TocsinStageDown", {"stage": "count"}, "TocsinSourceStalled", {"source": "3"}, True),
    ("TocsinStageDown", {"stage": "count"}, "TocsinLagGrowing", {"stage": "count"}, True),
    ("TocsinStageDown", {"stage": "count"}, "TocsinLagGrowing", {"stage": "notify"}, False),
    ("TocsinStageDown", {"stage": "notify"}, "TocsinSourceStalled", {"source": "3"}, False),
    ("TocsinStageDown", {"stage": "count"}, "TocsinSensorLost", {}, False),
    ("TocsinStageNotReady", {"stage": "detect"}, "TocsinNotReady", {"stage": "detect", "instance": "w1"}, True),
    ("TocsinPartitionUnowned", {"stage": "count"}, "TocsinSourceStalled", {"source": "3"}, True),
    ("TocsinCountStalled", {"partition": "3"}, "TocsinDetectStalled", {"partition": "0"}, True),
    ("TocsinSourceStalled", {"source": "3"}, "TocsinDetectStalled", {"partition": "0"}, True),
    ("TocsinDetectStalled", {"partition": "0"}, "TocsinSourceStalled", {"source": "3"}, False),
    ("TocsinRebuildLong", {"stage": "count", "partition": "0"}, "TocsinLagGrowing", {"stage": "count"}, True),
]


def test_a_cause_hides_its_effects_and_nothing_else(tmp_path: Path) -> None:
    """Each case has a job of its own, so that all can be asked for at once."""
    with running_alertmanager(tmp_path) as address:
        sent = [
            {"labels": {"job": f"case-{number}", **labels, "alertname": name}}
            for number, (cause, why, effect, what, _) in enumerate(CASES)
            for name, labels in ((cause, why), (effect, what))
        ]
        ask(address, sent)
        found = until(lambda: told(address, {key(each["labels"]) for each in sent}), "all alerts have been processed")
        hidden = [
            key({"job": f"case-{number}", **what, "alertname": effect}) in found
            for number, (_, _, effect, what, _) in enumerate(CASES)
        ]
    assert hidden == [expected for *_, expected in CASES]


def key(labels: dict[str, str]) -> str:
    return json.dumps(labels, sort_keys=True)


def told(address: str, sent: set[str]) -> set[str] | None:
    """Return which alerts are inhibited, once all that were sent are there and judged."""
    by_key = {key(each["labels"]): each["status"]["state"] for each in ask(address)}
    if by_key.keys() < sent or "unprocessed" in by_key.values():
        return None
    return {each for each, state in by_key.items() if state == "suppressed"}


def ask(address: str, alerts_sent: list[dict[str, Any]] | None = None) -> Any:
    body = None if alerts_sent is None else json.dumps(alerts_sent).encode()
    request = urllib.request.Request(f"{address}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read()
    return json.loads(text) if text else None


@contextmanager
def running_alertmanager(folder: Path) -> Iterator[str]:
    """Run Alertmanager with our configuration, and without waiting before it tells anybody."""
    config = yaml.safe_load(CONFIG.read_text())
    config["route"]["group_wait"] = "0s"
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={file}", f"--storage.path={folder}", "--cluster.listen-address="]
    command = [program("alertmanager"), *options, f"--web.listen-address={address}"]
    with running(command, f"http://{address}/-/ready", folder / "log"):
        yield f"http://{address}"
