"""The tutorial, typed word by word: its files are saved, its commands run, and they print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.broker import EmbeddedBroker
from tests.support.documents import ROOT, Block, Document
from tests.support.programs import program
from tests.support.waiting import until

TUTORIAL = Document(ROOT / "docs" / "tutorial.md")
#: Commands that go on until they are stopped, by how they begin; one that begins like another takes its place.
LASTING = ("tocsin worker", "tocsin incidents --follow", "python produce.py FR")
#: Commands that are tested elsewhere, or prepare what a test has already.
ELSEWHERE = ("make ", "source ", "mkdir ", "tocsin broker")
#: Commands that look at something that takes its time.
LOOKING = ("curl ", "tocsin incidents --no-follow")
#: How long something may take; a loaded machine needs a minute to start the processes of a worker.
PATIENCE_S = 120


def step(number: int) -> list[Block]:
    """Return the blocks of a step of the tutorial."""
    begin, end = (TUTORIAL.text.find(f"\n## {each}. ") for each in (number, number + 1))
    lines = [TUTORIAL.text.count("\n", 0, at if at >= 0 else None) + 1 for at in (begin, end)]
    return [block for block in TUTORIAL.blocks if lines[0] < block.line < lines[1]]


def introduction(block: Block) -> str:
    """Return the paragraph above a block."""
    above = "\n".join(TUTORIAL.text.splitlines()[: block.line - 1])
    return " ".join(above.rstrip().rpartition("\n\n")[2].split())


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block with the lines that it is shown to print."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def pattern(line: str) -> re.Pattern[str]:
    """Return what matches the lines that differ from one of the tutorial in figures, and in what it leaves out."""
    # an instant without seconds is one at a full minute
    plain = re.sub(r"T[\d:]+Z", "T@", line)
    parts = re.split(r"(@|\.\.\.|\d[\d,.]*)", plain)
    matching = {"@": r"[\d:]+Z", "...": ".*"}
    return re.compile(
        "".join(matching.get(part) or (r"[\d,.]+" if part[:1].isdigit() else re.escape(part)) for part in parts)
    )


class Reader:
    """Somebody who follows the tutorial in a folder of their own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.port = address.rpartition(":")[2]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "KAFKA_"))}
        self.environment = mine | {"PATH": path, "COLUMNS": "200", "TOCSIN_WORKER__HTTP_PORT": self.http_port}
        self.running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    @property
    def http_port(self) -> str:
        """A port for the worker that no other test on this machine has."""
        return str(int(self.port) - 12_000)

    def follow(self, block: Block) -> None:
        """Do what a block and the paragraph above it say."""
        said = introduction(block)
        if saved := re.search(r"[Ss]ave this as `([^`]+)`", said):
            (self.folder / saved[1]).write_text(self.adapted(block.text))
        for key, value in re.findall(r"`(\w+ = )(\d+)`", said):
            file = self.folder / "tocsin.toml"
            file.write_text(re.sub(rf"^{key}\d+", f"{key}{value}", file.read_text(), flags=re.MULTILINE))
        if block.language == "console":
            for command, shown in commands(block):
                self.type(command, shown)

    def type(self, command: str, shown: list[str]) -> None:
        if command.startswith(ELSEWHERE):
            return
        lasting = next((begin for begin in LASTING if command.startswith(begin)), None)
        if lasting is not None:
            self.leave_running(lasting, command)
            until(
                lambda: self.prints(shown, self.running[lasting][1].read_text()),
                f"{command} prints {shown}",
                PATIENCE_S,
            )
        elif command.startswith(LOOKING):
            until(lambda: self.prints(shown, self.output(command)), f"{command} prints {shown}", PATIENCE_S)
        else:
            output = self.output(command)
            assert self.prints(shown, output), output

    def adapted(self, text: str) -> str:
        return text.replace("29092", self.port).replace("6066", self.http_port)

    def output(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", self.adapted(command)], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def leave_running(self, name: str, command: str) -> None:
        self.stop(name)
        log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )
        self.running[name] = process, log

    def stop(self, name: str) -> None:
        """Press Ctrl-C."""
        if name in self.running:
            process, _ = self.running.pop(name)
            process.send_signal(signal.SIGINT)
            process.wait(60)

    @staticmethod
    def prints(shown: list[str], output: str) -> bool:
        lines = output.splitlines()
        return all(any(pattern(each).fullmatch(line.rstrip()) for line in lines) for each in shown)


@pytest.fixture
def reader(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a Kafka."""
    program("curl")
    reader = Reader(tmp_path, broker.bootstrap_servers)
    yield reader
    for name in list(reader.running):
        reader.stop(name)


def test_a_file_is_replayed(reader: Reader) -> None:
    for block in step(2):
        reader.follow(block)


@pytest.mark.timeout(600)
def test_an_outage_of_ones_own_is_seen_and_other_limits_raise_nothing(reader: Reader) -> None:
    for number in (3, 4, 5, 6, 7):
        for block in step(number):
            reader.follow(block)
    metrics = "curl -s http://127.0.0.1:6066/metrics"
    until(lambda: "tocsin_window_reports" in reader.output(metrics), "at work again", PATIENCE_S)
    transitions = reader.output("tocsin incidents --no-follow").splitlines()
    # a machine that stands still for a bin of two seconds has the incident held, and says so
    told = [line for line in transitions if not re.search(" (GREW|HELD|RESUMED) ", line)]
    assert [line.split()[1] for line in told] == ["OPENED", "CLEARED"], told


def test_history_becomes_baselines(reader: Reader) -> None:
    for block in step(8):
        reader.follow(block)
