"""`tocsin web` on a real Kafka: it starts without one, survives its restart, and can be made anew from its topics."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from streams.broker import EmbeddedBroker
from streams.metrics import catalogue
from streams.settings import Settings
from streams.topics import Cluster
from streams.web.api import OPERATIONS
from streams.web.model import Fact
from tests.support.loopback import free_port
from tests.support.processes import Process, processes
from tests.support.programs import program
from tests.support.waiting import until
from tests.support.webdata import outage_of_x

OUTAGE, INCIDENT = "x.20250524T1201Z", "x.US.20250524T1202Z"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A Kafka that keeps its records, so that it can go and come back."""
    with EmbeddedBroker(data=tmp_path / "kafka") as running:
        yield running


def deployment(servers: str, prefix: str) -> Settings:
    settings = outage_of_x()[0]
    kafka = settings.kafka.model_copy(
        update={"bootstrap_servers": servers, "prefix": prefix, "clock": "log", "counts_partitions": 2}
    )
    return settings.model_copy(update={"kafka": kafka})


def options(settings: Settings, **more: object) -> dict[str, object]:
    kafka = settings.kafka
    return {
        "kafka__bootstrap_servers": kafka.bootstrap_servers,
        "kafka__prefix": kafka.prefix,
        "kafka__clock": kafka.clock,
        "kafka__counts_partitions": kafka.counts_partitions,
        "web__port": 0,
        **more,
    }


def publish(settings: Settings, facts: list[Fact]) -> None:
    """Write facts as detect does, all of one service to one partition; the topics are of this deployment."""
    producer: Any = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all")
    for fact in facts:
        topic = fact.topic.replace("tocsin.", f"{settings.kafka.prefix}.", 1)
        producer.send(topic, value=fact.value, key=str(fact.offset).encode(), partition=1)
    producer.flush(30)
    producer.close()


def status(web: Process) -> Any:
    return json.loads(web.get("/api/v1/status")[1])


def answers(web: Process) -> dict[str, str]:
    """Return the answer to everything that can be asked, by its address; `status` is of this process alone."""
    paths = [each.path.replace("{service}", "x") for each in OPERATIONS if each.name != "status"]
    paths = [path.replace("{id}", INCIDENT if "/incidents/" in path else OUTAGE) for path in paths]
    found = {}
    for path in paths:
        code, text = web.get(path)
        assert code == 200, (path, text)
        # links begin with where this process listens
        [port] = [each["http_port"] for each in web.events if "http_port" in each]
        found[path] = text.replace(f":{port}", "")
    return found


def live(web: Process, revision: int = 0) -> bool:
    now = status(web)
    return bool(now["state"] == "live" and now["revision"] >= revision)


def ended(web: Process) -> bool:
    """Return whether it knows the last bin."""
    return bool(status(web)["judged_ms"] == 1_748_106_000_000)


def assert_described(metrics: str) -> None:
    """See that the metrics are those of the catalogue, and that promtool has nothing to say against them."""
    types = {line.split()[2]: line.split()[3] for line in metrics.split("\n") if line.startswith("# TYPE ")}
    own = {each.name: each.type for each in catalogue() if each.name.startswith("tocsin_web_")}
    assert {name: type_ for name, type_ in types.items() if name.startswith("tocsin_")} == own
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.timeout(400)
def test_it_survives_the_broker_and_is_made_anew_with_the_same_answers(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    settings = deployment(own_broker.bootstrap_servers, "web")
    with Cluster(settings) as cluster:
        cluster.create()
    facts = outage_of_x()[1]
    half = len(facts) // 2
    with processes(tmp_path) as start:
        web = start("web", **options(settings))
        until(web.is_ready, "it has read the empty topics", 60)
        publish(settings, facts[:half])
        until(lambda: web.get("/api/v1/services/x")[0] == 200, "it knows the service")
        before = web.get("/api/v1/services")[1]

        own_broker.kill(1)
        until(lambda: status(web)["state"] == "disconnected", "it says that no broker answers", 60)
        assert settings.kafka.bootstrap_servers in status(web)["reason"]
        assert web.get("/readyz")[0] == 503
        assert web.get("/livez") == (200, "alive\n")
        assert web.get("/api/v1/services")[1] == before

        own_broker.start_node(1)
        until(lambda: status(web)["state"] == "live", "it goes on", 60)
        publish(settings, facts[half:])
        until(lambda: ended(web) and web.is_ready(), "it has read the rest", 60)
        truth = answers(web)
        assert json.loads(truth["/api/v1/outages"])["outages"][0]["number_of_reports"] == 25_800
        assert_described(web.get("/metrics")[1])

        begun_s = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        assert web.exit_code() == 0
        ended_s = time.monotonic() - begun_s

        # with its file it goes on at once, without it it reads everything again
        again = start("web", **options(settings))
        until(lambda: ended(again) and again.is_ready(), "it is back", 60)
        assert answers(again) == truth
        again.process.send_signal(signal.SIGTERM)
        assert again.exit_code() == 0
        for path in tmp_path.glob("tocsin-web.sqlite3*"):
            path.unlink()
        anew = start("web", **options(settings))
        until(lambda: ended(anew) and anew.is_ready(), "it is made anew", 60)
        assert answers(anew) == truth
    assert ended_s < 20, "it waits for nobody"


def test_it_starts_without_a_broker_and_says_so(tmp_path: Path) -> None:
    settings = deployment(f"127.0.0.1:{free_port()}", "web")
    with processes(tmp_path) as start:
        web = start("web", **options(settings))
        until(lambda: status(web)["state"] == "disconnected", "it says that no broker answers", 60)
        assert "kafka.bootstrap_servers" in status(web)["reason"]
        assert web.get("/api/v1/services")[1] == '{"judged_ms":null,"services":[]}'
        web.process.send_signal(signal.SIGTERM)
        assert web.exit_code() == 0


def test_topics_that_are_missing_are_named(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = deployment(broker.bootstrap_servers, "web-missing")
    with processes(tmp_path) as start:
        web = start("web", **options(settings))
        until(lambda: "web-missing.series does not exist" in str(status(web)["reason"]), "it names the topic", 60)
        assert "tocsin topics create" in status(web)["reason"]
        with Cluster(settings) as cluster:
            cluster.create()
        until(lambda: live(web), "it goes on once they are there", 60)


def test_data_without_a_newer_level_are_called_stale(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = deployment(broker.bootstrap_servers, "web-stale")
    with Cluster(settings) as cluster:
        cluster.create()
    with processes(tmp_path) as start:
        web = start("web", **options(settings, web__stale_after_s=1))
        publish(settings, outage_of_x()[1][:100])
        until(lambda: status(web)["state"] == "stale", "it says so", 60)
        assert status(web)["reason"].startswith("no newer level for ")
        assert web.get("/readyz")[0] == 503
        publish(settings, outage_of_x()[1][100:200])
        until(lambda: live(web, 2), "newer levels end that", 60)


def test_what_is_not_read_yet_is_measured_while_there_is_always_more(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = deployment(broker.bootstrap_servers, "web-lag")
    with Cluster(settings) as cluster:
        cluster.create()

    def lag(web: Process) -> float:
        [line] = [each for each in web.get("/metrics")[1].split("\n") if each.startswith("tocsin_web_lag_records ")]
        return float(line.split()[1])

    with processes(tmp_path) as start:
        web = start("web", **options(settings))
        until(web.is_ready, "it has read the empty topics", 60)

        def rests(meanwhile: list[Fact]) -> None:
            """Have it stand still for so long that it asks for the lag when it goes on."""
            web.process.send_signal(signal.SIGSTOP)
            begun_s = time.monotonic()
            publish(settings, meanwhile)
            until(lambda: time.monotonic() > begun_s + 4, "it would ask by now")
            web.process.send_signal(signal.SIGCONT)

        rests(outage_of_x()[1] * 100)
        before = until(lambda: lag(web), "it says how much is not read yet")
        rests([])  # in the midst of it: there are records at hand all the time
        left = until(lambda: [now for now in [lag(web)] if now < before], "it says how much is left")
        assert left != [0]
        until(lambda: lag(web) == 0, "it has read all of it", 60)


def test_topics_made_anew_make_the_model_anew(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = deployment(broker.bootstrap_servers, "web-anew")
    with Cluster(settings) as cluster:
        cluster.create()
    with processes(tmp_path) as start:
        web = start("web", **options(settings))
        publish(settings, outage_of_x()[1][:300])
        until(lambda: web.get("/api/v1/services/x")[0] == 200, "it knows the service", 60)
        name = status(web)["model"]
        with Cluster(settings) as cluster:
            cluster.delete()
        until(lambda: status(web)["state"] == "disconnected", "it misses the topics", 60)
        with Cluster(settings) as cluster:
            until(lambda: cluster.create() or True, "they are there again")
        until(lambda: live(web), "it goes on", 60)
        assert status(web)["model"] != name
        assert web.get("/api/v1/services")[1] == '{"judged_ms":null,"services":[]}'
