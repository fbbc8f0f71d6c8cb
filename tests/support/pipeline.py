"""The pipeline as processes on a real Kafka: what is fed to it, what it states, and what can happen to it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kafka import KafkaConsumer, TopicPartition

from streams.settings import Settings
from streams.topics import Topics
from streams.worker import STAGES

Record = tuple[bytes | None, bytes | None]
#: The topics that charts are made from.
ARCHIVE = ("levels.15m", "series")


@dataclass
class Worker:
    """One stage as a process; `start` again after it has ended."""

    stage: str
    command: Sequence[str]
    log: IO[bytes]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self.command, self.stage, "--end-with-parent"],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.start()

    def freeze(self, seconds: float) -> None:
        """Stop the process for longer than its session lasts, then let it go on as if nothing had happened."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Pipeline:
    """Workers of every stage; a context manager that ends with all of them gone."""

    def __init__(self, settings_file: Path, folder: Path, workers: int, options: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "streams.cli", "--settings", str(settings_file), "worker", *options]
        self.log_file = folder / "workers.log"
        self._log = self.log_file.open("wb")
        self.workers = [Worker(stage, command, self._log) for _ in range(workers) for stage in STAGES]

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()
        self._log.close()

    def revive(self) -> list[str]:
        """Start again what ended by itself, as a supervisor would, and return the stages that had."""
        ended = [worker for worker in self.workers if worker.process.poll() is not None]
        for worker in ended:
            worker.start()
        return [worker.stage for worker in ended]


def faults(pipeline: Pipeline, seed: int, count: int, frozen_s: float) -> list[Callable[[], None]]:
    """Return `count` faults in random order: each stage is killed, told to end and frozen at least once."""
    rng = random.Random(seed)
    kinds = ("kill", "terminate", "freeze")
    plan = [(stage, kind) for stage in STAGES for kind in kinds]
    plan += [(rng.choice(STAGES), rng.choice(kinds)) for _ in range(count - len(plan))]
    rng.shuffle(plan)

    def fault(stage: str, kind: str) -> Callable[[], None]:
        worker = rng.choice([each for each in pipeline.workers if each.stage == stage])
        return {"kill": worker.kill, "terminate": worker.terminate, "freeze": lambda: worker.freeze(frozen_s)}[kind]

    return [fault(stage, kind) for stage, kind in plan]


def read_topic(settings: Settings, topic: str) -> list[Record]:
    """Return key and value of every record of a topic."""
    consumer: Any = KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        partitions = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        records: list[Record] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=500).values():
                records += [(record.key, record.value) for record in batch]
        return records
    finally:
        consumer.close()


def incident_log(settings: Settings) -> dict[tuple[str, bytes], set[bytes]]:
    """Return all values that were stated under each key of the incident log: more than one is a contradiction."""
    topics = Topics(settings.kafka.prefix)
    found: dict[tuple[str, bytes], set[bytes]] = {}
    for name, topic in (("incidents", topics.incidents), ("outages", topics.outages)):
        for key, value in read_topic(settings, topic):
            assert key is not None
            assert value is not None
            found.setdefault((name, key), set()).add(value)
    return found


def archived(settings: Settings) -> dict[tuple[str, bytes], set[bytes]]:
    """Return all values that were stated under each key of the quarters and series."""
    found: dict[tuple[str, bytes], set[bytes]] = {}
    for name in ARCHIVE:
        for key, value in read_topic(settings, f"{settings.kafka.prefix}.{name}"):
            assert key is not None
            assert value is not None
            found.setdefault((name, key), set()).add(value)
    return found
