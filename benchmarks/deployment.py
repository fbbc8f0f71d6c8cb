"""A deployment of Tocsin on the embedded Kafka, run as an operator would: by its command line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient

from benchmarks.samples import Sampler
from streams.settings import Settings, load
from streams.topics import layout

_READY_S, _STOP_S = 240.0, 60.0
_LOG_LINES_SHOWN = 15


class WorkerError(Exception):
    """The workers did not do what they should; the message holds the end of their log."""


class Deployment:
    """Settings, topics and workers under a prefix of their own.

    Parameters
    ----------
    folder
        Where the settings file and the workers' log go.
    bootstrap_servers
        Where Kafka is.
    prefix
        Of the topics.
    tables
        Further tables of the settings.
    """

    def __init__(
        self, folder: Path, bootstrap_servers: str, prefix: str, tables: Mapping[str, dict[str, object]] = {}
    ) -> None:
        self.folder = folder
        self.log = folder / f"{prefix}.log"
        own: dict[str, dict[str, object]] = {
            "kafka": {"bootstrap_servers": bootstrap_servers, "prefix": prefix},
            "worker": {"http_port": _free_port()},
        }
        lines = ["version = 1"]
        for name in {**own, **tables}:
            table = own.get(name, {}) | tables.get(name, {})
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        file = folder / f"{prefix}.toml"
        file.write_text("\n".join(lines))
        self.settings: Settings = load(file)
        self._command = [sys.executable, "-m", "streams.cli", "--settings", str(file)]
        subprocess.run([*self._command, "topics", "create"], check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def worker(self, *arguments: str, ready: bool = True) -> Iterator[Sampler]:
        """Run `tocsin worker` with these arguments; yield once it says that it is ready, unless told not to wait.

        Raises
        ------
        WorkerError
            If it is not ready in time.
        """
        with self.log.open("ab") as log:
            process = subprocess.Popen([*self._command, "worker", *arguments], stdout=log, stderr=log, cwd=self.folder)
        try:
            sampler = Sampler(process.pid, self.settings)
            deadline_s = time.monotonic() + _READY_S
            while ready and not sampler.ready():
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise WorkerError(f"the worker did not become ready:\n{self.last_words()}")
                time.sleep(0.1)
            yield sampler
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def last_words(self) -> str:
        """Return the end of the workers' log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])

    def topic_bytes(self) -> dict[str, int]:
        """Return how large each topic is on disk, by its name without the prefix."""
        names = [topic.name for topic in layout(self.settings)]
        prefix = f"{self.settings.kafka.prefix}."
        return {
            name.removeprefix(prefix): size
            for name, size in bytes_on_disk(self.settings.kafka.bootstrap_servers, names).items()
        }


def bytes_on_disk(bootstrap_servers: str, topics: Sequence[str]) -> dict[str, int]:
    """Return how large topics are on disk, all replicas together."""
    found = dict.fromkeys(topics, 0)
    with KafkaAdminClient(bootstrap_servers=bootstrap_servers.split(",")) as admin:
        for broker in admin.describe_log_dirs([*topics]):
            for folder in broker["log_dirs"]:
                for topic in folder["topics"]:
                    found[topic["name"]] += sum(partition["partition_size"] for partition in topic["partitions"])
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
