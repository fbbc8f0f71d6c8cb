"""Connections with TLS and SASL to a real Kafka: every client gets in, and whoever does not is told why."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from streams.broker import EmbeddedBroker, Listener
from streams.cli.context import ExitCode
from streams.diagnosis import Diagnosis, diagnose
from streams.embedded.listeners import set_passwords
from streams.events import Frame, decode_counts
from streams.intake import Intake
from streams.settings import Kafka, Settings
from streams.tail import tail
from streams.topicreader import TopicReader
from streams.topics import Cluster, RefusedError, Topics
from tests.support.certificates import Authority, Certified
from tests.support.pipeline import read_topic
from tests.support.processes import Process, processes
from tests.support.reports import record, report
from tests.support.waiting import until

START_MS = 1_748_088_000_000
#: With what a shell, a properties file and SCRAM may have trouble; no log may hold it.
PASSWORD = 'canary ,="\\é'
#: How long the broker keeps a connection that authenticates no second time.
SESSION_MS = 2000

_numbers = itertools.count()


class Secured:
    """A Kafka with a listener of every kind, and the settings to reach them."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.stranger = Authority(folder), Authority(folder, "stranger")
        server = self.authority.server("server").both
        expired = self.authority.server("expired", expired=True).both
        elsewhere = self.authority.server("elsewhere", "kafka.example").both
        self.broker = EmbeddedBroker(
            listeners={
                "TLS": Listener(server),
                "MTLS": Listener(server, client_ca=self.authority.file),
                "SCRAM": Listener(server, sasl=True),
                "CLEAR": Listener(sasl=True),
                "SHORT": Listener(sasl=True),
                "EXPIRED": Listener(expired),
                "ELSEWHERE": Listener(elsewhere),
            },
            users={"alice": PASSWORD, "bob": PASSWORD},
            properties={"listener.name.short.connections.max.reauth.ms": str(SESSION_MS)},
        )
        self.password_file = folder / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        client = self.authority.client("alice")
        trust = {"ca_file": str(self.authority.file)}
        user = {"sasl_username": "alice", "sasl_password_file": str(self.password_file)}
        #: Listener and settings by what is shown.
        self.ways: dict[str, tuple[str, dict[str, str]]] = {
            "TLS": ("TLS", {"security_protocol": "SSL"} | trust),
            "a certificate": ("MTLS", {"security_protocol": "SSL"} | trust | files(client)),
            "SCRAM-SHA-512": ("SCRAM", {"security_protocol": "SASL_SSL"} | trust | user),
            "SCRAM-SHA-256": (
                "SCRAM",
                {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"} | trust | user,
            ),
            "PLAIN": ("SCRAM", {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"} | trust | user),
            "SCRAM in the clear": ("CLEAR", {"security_protocol": "SASL_PLAINTEXT"} | user),
        }

    def kafka(self, way: str, listener: str | None = None, **changed: str) -> Kafka:
        """Return the settings of a way in, at its own listener or another one."""
        own, keys = self.ways[way]
        one: dict[str, Any] = {"reports_partitions": 1, "counts_partitions": 1, "clock": "log", "session_timeout_s": 2}
        kept = {key: value for key, value in (keys | changed).items() if value}
        prefix = {"prefix": f"secured-{next(_numbers)}"}
        return Kafka(bootstrap_servers=self.broker.servers(listener or own), **(one | prefix | kept))


def files(client: Certified) -> dict[str, str]:
    return {"certificate_file": str(client.certificate), "key_file": str(client.key)}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    found = Secured(tmp_path_factory.mktemp("certificates"))
    with found.broker:
        yield found


@pytest.fixture
def tocsin(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes that end with the test."""
    with processes(tmp_path) as start:
        yield start


def options(kafka: Kafka) -> dict[str, object]:
    """Return the settings as options of a process."""
    own = kafka.model_dump(exclude_defaults=True)
    return {f"kafka__{key}": value for key, value in own.items()} | {"worker__http_port": 0, "count__flush_s": 0.2}


# --- Who gets in ----------------------------------------------------------------------------------------------------

WAYS = ["TLS", "a certificate", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "SCRAM in the clear"]


@pytest.mark.parametrize("way", WAYS)
def test_commands_and_readers_get_in(secured: Secured, way: str) -> None:
    settings = Settings(kafka=secured.kafka(way))
    topics = Topics(settings.kafka.prefix)
    with Cluster(settings) as cluster:
        cluster.create()
    with Intake(settings) as intake:
        intake.reports([record(START_MS, report())])

    async def read() -> tuple[list[bytes], list[bytes | None]]:
        tailed = [each.value async for each in _all(settings, topics.reports)]
        return tailed, [value for _, value in await TopicReader(settings).read(TP(topics.reports, 0))]

    assert asyncio.run(read()) == ([report()], [report()])
    assert asyncio.run(diagnose(settings.kafka)) is None


async def _all(settings: Settings, topic: str) -> Any:
    async for records in tail(settings, [topic], follow=False):
        for each in records:
            yield each


@pytest.mark.parametrize("way", ["a certificate", "SCRAM-SHA-512"])
def test_a_worker_gets_in_and_counts(secured: Secured, tocsin: Callable[..., Process], way: str) -> None:
    settings = Settings(kafka=secured.kafka(way))
    with Cluster(settings) as cluster:
        cluster.create()
    worker = tocsin("worker", "count", **options(settings.kafka))
    until(worker.is_ready, "the worker is ready", 60)
    with Intake(settings) as intake:
        intake.reports([record(START_MS, report())])
    plain = Settings(kafka=Kafka(bootstrap_servers=secured.broker.bootstrap_servers))
    counts = Topics(settings.kafka.prefix).counts

    def counted() -> list[str]:
        stated = [decode_counts(value or b"") for _, value in read_topic(plain, counts)]
        return [cell.service for each in stated if isinstance(each, Frame) for cell in each.cells]

    until(lambda: "x" in counted(), "the report is counted")
    assert "canary" not in worker.said


# --- Who does not, and what is said of it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "listener", "changed", "said"),
    [
        (
            "SCRAM-SHA-512",
            None,
            {"sasl_password_file": "", "sasl_password": "x"},
            "refuses the user alice or the password: see",
        ),
        (
            "PLAIN",
            None,
            {"sasl_username": "eve"},
            "refuses the user eve or the password: see",
        ),
        ("TLS", "EXPIRED", {}, "shows a certificate that has expired: the broker needs a new one"),
        ("TLS", "ELSEWHERE", {}, "shows a certificate that does not name 127.0.0.1: one of the two has to be changed"),
        ("TLS", None, {"ca_file": "{stranger}"}, "shows a certificate that was not signed by kafka.ca_file: unable to"),
        (
            "TLS",
            None,
            {"ca_file": ""},
            "was not signed by the system's authorities, as kafka.ca_file is not set",
        ),
        ("TLS", "MTLS", {}, "asks for a certificate: set kafka.certificate_file and kafka.key_file"),
        (
            "a certificate",
            None,
            {"certificate": "{of stranger}"},
            "refuses the certificate in kafka.certificate_file",
        ),
        ("a certificate", None, {"certificate": "{expired}"}, "refuses the certificate in kafka.certificate_file"),
        ("TLS", "CLIENT", {}, "speaks no TLS: kafka.security_protocol must be PLAINTEXT"),
        ("SCRAM-SHA-512", "CLEAR", {}, "speaks no TLS: kafka.security_protocol must be SASL_PLAINTEXT"),
        ("SCRAM in the clear", "SCRAM", {}, "speaks TLS: kafka.security_protocol must be SASL_SSL"),
        ("SCRAM in the clear", "CLIENT", {}, "asks for no user: kafka.security_protocol must be PLAINTEXT"),
        ("TLS", "SCRAM", {}, "asks who we are: kafka.security_protocol must be SASL_SSL"),
    ],
    ids=[
        "another password",
        "an unknown user",
        "an expired server certificate",
        "a server of another name",
        "an unknown authority",
        "no authority",
        "no client certificate",
        "a client certificate of another authority",
        "an expired client certificate",
        "TLS where none is spoken",
        "TLS and SASL where no TLS is spoken",
        "no TLS where it is spoken",
        "a user where nobody asks",
        "no user where one is asked for",
    ],
)
def test_a_refusal_names_the_address_what_failed_and_the_setting(
    secured: Secured, way: str, listener: str | None, changed: dict[str, str], said: str
) -> None:
    certificates = {
        "{of stranger}": lambda: secured.stranger.client("mallory"),
        "{expired}": lambda: secured.authority.client("carol", expired=True),
    }
    own = {key: value.format(stranger=secured.stranger.file) for key, value in changed.items() if key != "certificate"}
    if "certificate" in changed:
        own |= files(certificates[changed["certificate"]]())
    kafka = secured.kafka(way, listener, **own)
    found = asyncio.run(diagnose(kafka))
    assert found is not None
    assert found.refused
    assert f"Kafka at {kafka.bootstrap_servers} " in found.line
    assert said in found.line


def test_a_client_without_tls_or_a_user_is_told_which_of_them_is_missing(secured: Secured) -> None:
    at = {name: secured.broker.servers(name) for name in ("TLS", "CLEAR")}
    found = {name: asyncio.run(diagnose(Kafka(bootstrap_servers=address))) for name, address in at.items()}
    assert found == {
        "TLS": Diagnosis(f"Kafka at {at['TLS']} speaks TLS: kafka.security_protocol must be SSL", refused=True),
        "CLEAR": Diagnosis(
            f"Kafka at {at['CLEAR']} asks who we are: kafka.security_protocol must be SASL_PLAINTEXT", refused=True
        ),
    }


def test_nothing_is_said_of_a_broker_that_is_away() -> None:
    assert asyncio.run(diagnose(Kafka(bootstrap_servers="127.0.0.1:9"))) is None


def test_readers_raise_it(secured: Secured) -> None:
    settings = Settings(kafka=secured.kafka("SCRAM-SHA-512", sasl_username="eve"))

    async def read() -> None:
        async for _ in tail(settings, ["any"], follow=False):
            pass

    with pytest.raises(RefusedError, match="refuses the user eve or the password: see"):
        asyncio.run(read())


def test_a_command_ends_with_it(secured: Secured, tocsin: Callable[..., Process]) -> None:
    kafka = secured.kafka("SCRAM-SHA-512", sasl_username="eve")
    command = tocsin("topics", "check", **options(kafka))
    assert command.exit_code() == ExitCode.USAGE
    said = f"Kafka at {kafka.bootstrap_servers} refuses the user eve or the password: see kafka.sasl_username and "
    assert command.said.splitlines()[-1] == said + "kafka.sasl_password_file"


# --- Secrets that change --------------------------------------------------------------------------------------------


def test_a_worker_that_is_refused_says_so_and_goes_on_trying_with_what_the_file_holds_then(
    secured: Secured, tocsin: Callable[..., Process], tmp_path: Path
) -> None:
    password_file = tmp_path / "mounted"
    password_file.write_text("of yesterday")
    settings = Settings(kafka=secured.kafka("SCRAM-SHA-512", sasl_password_file=str(password_file)))
    with Cluster(Settings(kafka=secured.kafka("TLS", prefix=settings.kafka.prefix))) as cluster:
        cluster.create()
    worker = tocsin("worker", "count", **options(settings.kafka))
    until(lambda: "refuses the user alice" in worker.get("/readyz")[1], "it is not ready, and says why", 60)
    assert worker.get("/readyz")[0] == 503
    password_file.write_text(PASSWORD)
    until(worker.is_ready, "the worker has begun", 60)


def test_a_worker_whose_password_was_changed_ends_so_that_a_new_start_reads_the_new_one(
    secured: Secured, tocsin: Callable[..., Process], tmp_path: Path
) -> None:
    password_file = tmp_path / "mounted"
    password_file.write_text(PASSWORD)
    own = {"sasl_username": "bob", "sasl_password_file": str(password_file)}
    kafka = secured.kafka("SCRAM in the clear", "SHORT", **own)
    with Cluster(Settings(kafka=kafka)) as cluster:
        cluster.create()
    worker = tocsin("worker", "count", **options(kafka))
    until(worker.is_ready, "the worker is ready", 60)
    set_passwords([secured.broker.bootstrap_servers], {"bob": "of tomorrow"})
    assert worker.exit_code() == ExitCode.GAVE_UP
    said = f"RefusedError: Kafka at {kafka.bootstrap_servers} refuses the user bob or the password: see kafka."
    assert [each for each in worker.errors() if each.startswith(said)] != []
    password_file.write_text("of tomorrow")
    until(tocsin("worker", "count", **options(kafka)).is_ready, "the next worker is ready", 60)
