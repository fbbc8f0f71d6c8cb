"""Putting the demo up, playing it and taking it down: nothing is left running, and no files."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from rich.console import Console

from streams import logs, scenarios
from streams.broker import EmbeddedBroker
from streams.demo.page import Page, PageError
from streams.demo.story import Story
from streams.demo.view import Setting, view
from streams.display import outage_table
from streams.events import MINUTE_MS
from streams.intake import Intake
from streams.replay import backfill
from streams.reportlog import LogRecord
from streams.scenarios import Scenario
from streams.scenarios.scenario import time_ms
from streams.settings import Settings
from streams.tail import Record, tail
from streams.topics import Cluster
from streams.worker import Workers

#: How many workers run, each with all three stages.
WORKERS = 2
#: What is streamed before the first and after the last thing that is out of the ordinary.
_MARGIN_MS = 15 * MINUTE_MS
#: How long the workers may say nothing.
_PATIENCE_S = 60.0
_FRAME_S = 0.1
#: What the user's own cluster may ask for and an embedded Kafka does not.
_SECURITY = [
    f"kafka.{key}"
    for key in (
        "sasl_username",
        "sasl_password",
        "sasl_password_file",
        "ca_file",
        "certificate_file",
        "key_file",
        "key_password",
        "key_password_file",
    )
]
_LOG_LINES_SHOWN = 15


class DemoError(Exception):
    """The demo cannot go on; the message says why and shows the end of the workers' log."""


@dataclass(frozen=True)
class Deployment:
    """Settings, and the command line of a process under the same settings; a command's name goes behind it."""

    settings: Settings
    command: list[str]


#: Returns the deployment under settings that override the user's own, by dotted key.
Configure = Callable[[Mapping[str, str]], Deployment]


def run(
    configure: Configure,
    scenario: Scenario,
    *,
    seed: int,
    speed: float,
    bootstrap_servers: str | None,
    browser: bool,
) -> None:
    """Play a scenario through workers of our own, show it as it happens, then print the tables of its outages.

    Parameters
    ----------
    configure
        What the settings come from.
    scenario
        What is played.
    seed
        Places its reports within their minutes.
    speed
        How many times faster than life.
    bootstrap_servers
        The cluster to use, under topics that are deleted at the end; without it, an embedded Kafka is started.
    browser
        Open the page, where the output is a terminal and there is a screen.

    Raises
    ------
    DemoError
        If the workers or the page cannot go on.
    BrokerError, TopicsError, SettingsError, IntakeError
        If Kafka cannot be started or used, or the settings do not allow it.
    """
    console = Console(highlight=False)
    with _clean_up() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-demo-")))
        log = stack.enter_context((folder / "log").open("a"))
        logs.configure(stream=log)
        if bootstrap_servers is None:
            with _step(console, "starting Apache Kafka (the first time, it is fetched before)"):
                address = stack.enter_context(EmbeddedBroker()).bootstrap_servers
            prefix = "tocsin-demo"
        else:
            address, prefix = bootstrap_servers, f"tocsin-demo.{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        deployment = _deployment(configure, scenario, address, prefix, secured=bootstrap_servers is not None)
        settings = deployment.settings
        with _step(console, f"creating the topics {prefix}.* and teaching the usual levels"):
            with Cluster(settings) as cluster:
                if bootstrap_servers is not None:
                    stack.callback(_delete_topics, settings)
                cluster.create()
            with Intake(settings) as intake:
                intake.baselines(backfill(settings, scenarios.history(scenario)))
        begin_ms, end_ms = _stretch(scenario)
        page = stack.enter_context(_page(deployment, folder, log))
        setting = Setting(scenario, settings, begin_ms, end_ms, speed, page.url)
        player = _Player(setting, [*deployment.command, "worker"], seed, log)
        stack.callback(player.end)
        player.start()
        with _step(console, f"starting {WORKERS} workers, and the page at {page.url}"):
            _wait(page, log)
        if browser and console.is_terminal:
            page.open()
        story = player.play(console)
        for outage in story.outages.values():
            console.print(outage_table(outage, story.incidents, settings))
        if not story.outages:
            console.print("no outage")
        if console.is_terminal and sys.stdin.isatty():
            console.print(f"The page stays at {page.url} until you press Ctrl-C.", style="bold")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()


def _page(deployment: Deployment, folder: Path, log: TextIO) -> Page:
    try:
        return Page(deployment.command, deployment.settings, folder, log)
    except PageError as error:
        raise DemoError(str(error)) from None


def _wait(page: Page, log: TextIO) -> None:
    try:
        page.wait(_PATIENCE_S)
    except PageError as error:
        raise _error(str(error), log) from None


def _deployment(configure: Configure, scenario: Scenario, address: str, prefix: str, *, secured: bool) -> Deployment:
    own = {
        "kafka.bootstrap_servers": address,
        "kafka.prefix": prefix,
        "kafka.clock": "log",
        "kafka.counts_partitions": "2",
        "count.flush_s": "0.25",  # half a simulated minute
    }
    if not secured:
        own |= dict.fromkeys(_SECURITY, "") | {"kafka.security_protocol": "PLAINTEXT"}
    return configure(own | scenario.advice(configure(own).settings))


def _stretch(scenario: Scenario) -> tuple[int, int]:
    """Return begin and end of what is worth watching; the quiet before and after is not streamed but sent at once."""
    file = scenario.file
    unusual = [(each.begins, each.ends) for each in file.outages]
    unusual += [(each.begins, each.ends) for each in file.silences]
    unusual += [(each.at, each.at) for each in file.bursts]
    begin_ms = min((time_ms(begins) for begins, _ in unusual), default=scenario.start_ms + 2 * _MARGIN_MS) - _MARGIN_MS
    end_ms = max((time_ms(ends) for _, ends in unusual), default=scenario.end_ms) + _MARGIN_MS
    return max(begin_ms, scenario.start_ms), min(end_ms, scenario.end_ms)


def _error(what: str, log: TextIO) -> DemoError:
    lines = Path(log.name).read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return DemoError("\n".join([f"{what}; the log ends:", *lines]))


def _delete_topics(settings: Settings) -> None:
    with Cluster(settings) as cluster:
        cluster.delete()


@contextmanager
def _clean_up() -> Iterator[ExitStack]:
    """Yield a stack of what is to be undone at the end; Ctrl-C and SIGTERM cannot interrupt the undoing."""
    before = {}
    try:
        with ExitStack() as stack:
            try:
                yield stack
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    before[number] = signal.signal(number, signal.SIG_IGN)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Say what is being done, on a terminal only while it is being done."""
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what, soft_wrap=True)
        yield


class _StoppedError(Exception):
    """The demo has been stopped."""


class _Player:
    """Workers, a thread that writes reports, and one that reads facts."""

    def __init__(self, setting: Setting, worker_command: list[str], seed: int, log: TextIO) -> None:
        self._setting = setting
        self._settings = setting.settings
        self._command = worker_command
        self._seed = seed
        self._log = log
        self._story = Story(setting.settings)
        self._facts: SimpleQueue[Record] = SimpleQueue()
        self._stop = threading.Event()
        self._at_work = threading.Event()
        self._pool = ThreadPoolExecutor()
        self._workers: list[Workers] = []
        self._tasks: dict[str, Future[object]] = {}

    def play(self, console: Console) -> Story:
        """Play everything and return the whole story."""
        bin_ms = self._settings.count.bin_ms
        # The last bin that can be complete before the paced part begins; there is none if nothing comes before it.
        ready_ms = self._setting.begin_ms - self._settings.count.lateness_ms - 2 * bin_ms
        if ready_ms <= self._setting.scenario.start_ms:
            self._at_work.set()
        patience_s = _PATIENCE_S + 2 * self._settings.count.bin_s / self._setting.speed
        last_heard_s = time.monotonic()
        with view(self._setting, console) as shown:
            while (self._story.clock_ms or 0) < self._setting.scenario.end_ms // bin_ms * bin_ms:
                if self._hear():
                    last_heard_s = time.monotonic()
                elif time.monotonic() - last_heard_s > patience_s:
                    raise _error(f"the workers have said nothing for {patience_s:.0f} s", self._log)
                if (self._story.clock_ms or 0) >= ready_ms:
                    self._at_work.set()
                self._check()
                waiting = None if self._at_work.is_set() else f"starting {WORKERS} workers: count, detect, notify"
                shown.show(self._story, waiting)
                time.sleep(_FRAME_S)
        self.end()
        # What was on its way when the last bin was seen is there now.
        asyncio.run(self._read(follow=False))
        self._hear()
        return self._story

    def end(self) -> None:
        """End threads and workers; a second time, do nothing."""
        self._stop.set()
        self._pool.shutdown()
        enders = [threading.Thread(target=workers.end) for workers in self._workers]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    def start(self) -> None:
        """Start the workers, and reading and writing."""
        for number in range(1, WORKERS + 1):
            workers = Workers(self._command, output=self._log)
            self._workers.append(workers)
            self._tasks[f"worker {number}"] = self._pool.submit(workers.watch, self._stop)
        self._tasks["reader"] = self._pool.submit(asyncio.run, self._read(follow=True))
        self._tasks["writer"] = self._pool.submit(self._write)

    def _hear(self) -> bool:
        """Take in what the reader has brought and return whether there was anything."""
        heard = False
        while not self._facts.empty():
            self._story.take(self._facts.get())
            heard = True
        return heard

    def _check(self) -> None:
        for name, task in self._tasks.items():
            if task.done():
                task.result()
                if name != "writer":
                    raise _error(f"{name} cannot go on", self._log)

    async def _read(self, *, follow: bool) -> None:
        async with aclosing(tail(self._settings, self._story.topics, follow=follow)) as batches:
            async for records in batches:
                for record in records:
                    self._facts.put(record)
                if follow and self._stop.is_set():
                    return

    def _write(self) -> None:
        """Write the reports: those before and after what is shown at once, the others as time goes by."""
        setting, kafka = self._setting, self._settings.kafka
        log = scenarios.reports(
            setting.scenario, self._seed, kafka.reports_partitions, self._settings.count.lateness_ms
        )

        def is_shown(record: LogRecord) -> bool:
            return setting.begin_ms <= record.timestamp_ms < setting.end_ms

        with suppress(_StoppedError), Intake(self._settings) as intake:
            for shown, part in groupby(self._until_stopped(log), key=is_shown):
                while shown and not self._at_work.wait(_FRAME_S):
                    self._raise_if_stopped()
                intake.reports(part, speed=setting.speed if shown else None)

    def _until_stopped(self, log: Iterable[LogRecord]) -> Iterator[LogRecord]:
        for record in log:
            self._raise_if_stopped()
            yield record

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise _StoppedError
