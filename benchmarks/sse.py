"""How long a fact takes from Kafka to everybody who listens to `tocsin web`, and what the process needs for it.

A real Apache Kafka (the embedded one), `tocsin web` as it is run, and clients over loopback, each with a connection of
its own. Every second the levels of all services in one more bin are written, and in some bins an incident opens. A
few clients stop reading: they have to be cut off, and to be sent what they have missed when they come again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
from kafka import KafkaProducer

from streams.broker import EmbeddedBroker
from streams.events import Decision, Incident, Level, Levels, encode, incident_id
from streams.settings import Kafka, Settings
from streams.topics import Cluster, Topics

START_MS = 1_748_088_000_000
MINUTE_MS = 60_000
_REVISION = re.compile(rb'event: revision\nid: (\S+)\ndata: \{"revision":\d+,"judged_ms":(\d+)\}\n\n')
_OPENED = re.compile(rb'event: incident\ndata: \{"version":1,"id":"([^"]+)","sequence":(\d+)')
_TAIL_BYTES = 4096


class Result(NamedTuple):
    """What was measured; latencies are from just before a bin's facts are handed to Kafka's producer."""

    clients: int
    services: int
    bins: int
    bytes_a_bin: float
    p50_s: float
    p99_s: float
    longest_s: float
    rss_before_bytes: int
    rss_peak_bytes: int
    cpu_share: float
    cut_off: int
    missed: int


@dataclass
class Client:
    """One connection to the stream."""

    port: int
    path: str
    last_id: str | None = None
    #: When the end of each bin was told, by the monotonic clock.
    told_s: dict[int, float] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    received_bytes: int = 0
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Read until the server ends the stream."""
        connection = socket.socket()
        if not self.reading.is_set():
            # of one that does not read, the systems on both sides hold as little as they can
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 16)
        resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
        rest = b""
        try:
            while chunk := await reader.read(1 << 16):
                now_s = time.monotonic()
                self.received_bytes += len(chunk)
                # what is looked for is short, and may be found twice
                rest = rest[-_TAIL_BYTES:] + chunk
                for found in _REVISION.finditer(rest):
                    self.last_id = found[1].decode()
                    self.told_s.setdefault(int(found[2]), now_s)
                self.opened |= {f"{each[1].decode()}/{int(each[2])}" for each in _OPENED.finditer(rest)}
                await self.reading.wait()
        finally:
            writer.close()


def levels(service: str, bin_ms: int, incident: str | None) -> bytes:
    """Return the levels of a service in three regions."""
    own = [
        Level(
            region=region,
            count=3 + len(service) % 5,
            window=45,
            expected=3.017,
            score=0.5,
            score_threshold=5.0,
            raise_above=None,
            clear_below=None,
            state="open" if incident else "normal",
            incident=incident,
        )
        for region in ("DE", "GB", "US")
    ]
    return encode(Levels(service=service, bin_ms=bin_ms, regions=own))


def opening(service: str, bin_ms: int) -> Incident:
    """Return an incident that opens."""
    decision = Decision(
        rule="raise",
        detector="ratio",
        bin_ms=bin_ms,
        count=100,
        window=500,
        window_bins=15,
        expected=3.017,
        score=9.0,
        score_threshold=5.0,
        clear_level=4.0,
        raise_above=None,
        clear_below=None,
    )
    return Incident(
        id=incident_id(service, "US", bin_ms),
        sequence=1,
        service=service,
        region="US",
        transition="opened",
        state="open",
        held=False,
        reason="500 reports in 15 minutes",
        at_ms=bin_ms + MINUTE_MS,
        opened_ms=bin_ms,
        peak=500,
        peak_ms=bin_ms + MINUTE_MS,
        total=100,
        kinds={"app": 100},
        decision=decision,
    )


class Writer:
    """Writes the facts of one bin after the other."""

    def __init__(self, settings: Settings, services: int) -> None:
        self._producer: Any = KafkaProducer(
            bootstrap_servers=settings.kafka.bootstrap_servers, acks="all", linger_ms=5, batch_size=1 << 18
        )
        self._topics = Topics(settings.kafka.prefix)
        self._services = [f"service-{number:04}" for number in range(services)]
        self.opened: set[str] = set()

    def write(self, number: int) -> float:
        """Write bin `number` and return when that began, by the monotonic clock."""
        bin_ms = START_MS + number * MINUTE_MS
        begun_s = time.monotonic()
        for index, service in enumerate(self._services):
            if number % 5 == 4 and index % 50 == number % 50:
                incident = opening(service, bin_ms)
                self.opened.add(f"{incident.id}/1")
                self._producer.send(self._topics.incidents, encode(incident), f"{incident.id}/1".encode(), partition=0)
            self._producer.send(self._topics.levels, levels(service, bin_ms, None), service.encode(), partition=0)
        self._producer.flush(30)
        return begun_s

    def close(self) -> None:
        """Let go of Kafka."""
        self._producer.close()


@contextmanager
def web(settings: Settings, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Yield `tocsin web` as a process, and its port."""
    options = {
        "kafka.bootstrap_servers": settings.kafka.bootstrap_servers,
        "kafka.prefix": settings.kafka.prefix,
        "kafka.clock": "log",
        "kafka.counts_partitions": 1,
        "web.port": 0,
        "web.stale_after_s": 3600,
    }
    command = [sys.executable, "-m", "streams.cli", *(f"--set={key}={value}" for key, value in options.items()), "web"]
    log = folder / "web.log"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environment)
    try:
        deadline_s = time.monotonic() + 60
        while True:
            started = [json.loads(line) for line in log.read_text().splitlines() if "http_port" in line]
            if started and _is_ready(started[0]["http_port"]):
                break
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        yield process, started[0]["http_port"]
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


async def measure(settings: Settings, folder: Path, asked: argparse.Namespace) -> Result:
    """Return what was measured."""
    clients, services, bins = asked.clients, asked.services, asked.bins
    path = "/api/v1/stream?only=revision" if asked.pages else "/api/v1/stream"
    with web(settings, folder) as (process, port):
        writer = Writer(settings, services)
        writer.write(0)
        everyone = [Client(port, path) for _ in range(clients)]
        for client in everyone:
            client.reading.set()
        lazy = [Client(port, path) for _ in range(asked.slow)]
        watched = psutil.Process(process.pid)
        before = watched.memory_info().rss
        tasks = [asyncio.create_task(each.listen()) for each in (*everyone, *lazy)]
        await asyncio.sleep(3)  # connections are not what is measured
        peak, cpu_s, wall_s = before, sum(watched.cpu_times()[:2]), time.monotonic()
        received = sum(each.received_bytes for each in everyone)
        begun_s: dict[int, float] = {}
        for number in range(1, bins + 1):
            due_s = time.monotonic() + 1
            begun_s[START_MS + (number + 1) * MINUTE_MS] = await asyncio.to_thread(writer.write, number)
            await asyncio.sleep(max(0, due_s - time.monotonic()))
            peak = max(peak, watched.memory_info().rss)
        await asyncio.sleep(3)
        cpu_s, wall_s = sum(watched.cpu_times()[:2]) - cpu_s, time.monotonic() - wall_s
        received = sum(each.received_bytes for each in everyone) - received
        latencies = sorted(_latencies(everyone, begun_s))
        for client in lazy:
            client.reading.set()
        ended: set[asyncio.Task[None]] = set()
        if lazy:
            ended, _ = await asyncio.wait(tasks[clients:], timeout=30)
        again = [asyncio.create_task(each.listen()) for each in lazy]
        await asyncio.sleep(3)
        for task in (*tasks, *again):
            task.cancel()
        await asyncio.gather(*tasks, *again, return_exceptions=True)
        writer.close()
    # pages are told that something has changed, and fetch what
    missed = 0 if asked.pages else sum(len(writer.opened - each.opened) for each in (*everyone, *lazy))
    return Result(
        clients,
        services,
        bins,
        received / bins / clients,
        latencies[len(latencies) // 2],
        latencies[int(len(latencies) * 0.99)],
        latencies[-1],
        before,
        peak,
        cpu_s / wall_s,
        len(ended),
        missed,
    )


def _latencies(clients: list[Client], begun_s: dict[int, float]) -> Iterator[float]:
    """Yield for each client and bin how long it took; a bin that is told of with a later one took as long as that."""
    for client in clients:
        told = sorted(client.told_s.items())
        for end_ms, began_s in begun_s.items():
            heard = [at_s for judged_ms, at_s in told if judged_ms >= end_ms]
            if not heard:
                raise RuntimeError(f"a client was never told of the bin that ends at {end_ms}")
            yield heard[0] - began_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--slow", type=int, default=5, help="clients that stop reading, beside the others")
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--bins", type=int, default=60, help="one a second")
    parser.add_argument("--pages", action="store_true", help="have them listen as pages do, to no more than revisions")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker() as broker:
        kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, prefix="sse", clock="log", counts_partitions=1)
        settings = Settings(kafka=kafka)
        with Cluster(settings) as cluster:
            cluster.create()
        result = asyncio.run(measure(settings, Path(folder), asked))
    print(msgspec.json.format(msgspec.json.encode(result._asdict())).decode())
    print(
        f"p99 {result.p99_s:.3f} s from fact to {result.clients} clients; "
        f"memory {result.rss_before_bytes / 1e6:.0f} to {result.rss_peak_bytes / 1e6:.0f} MB; "
        f"{result.cut_off} slow clients cut off, {result.missed} transitions missed"
    )


if __name__ == "__main__":
    main()
