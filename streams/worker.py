"""Running a stage until it is told to stop or cannot go on, and running all three as child processes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from streams.acls import Role, rights
from streams.app import APPS
from streams.gathering import Gathering
from streams.health import HealthServer
from streams.metrics import ParentMetrics, ProcessMetrics, WorkerMetrics
from streams.settings import Settings, SettingsError
from streams.stageapp import StageApp
from streams.topics import Cluster, RefusedError, TopicsError, UnreachableError

log = structlog.get_logger(__name__)

EXIT_FINE, EXIT_SETTINGS, EXIT_GAVE_UP = 0, 2, 70
STAGES = tuple(APPS)
#: How long a stage may take to stop in an orderly way, and to become ready after a start.
STOP_S = 20.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0


def run_stage(settings: Settings, name: str, listener: socket.socket, *, apply_settings: bool = False) -> int:
    """Run one stage in this process until SIGTERM or SIGINT.

    Parameters
    ----------
    settings
        The deployment's settings.
    name
        The stage.
    listener
        The socket on which metrics and probes are served.
    apply_settings
        Go on from state that other detection settings have built.

    Returns
    -------
    int
        The exit code: 0 when told to stop, 2 if what Kafka holds does not fit the settings, 70 if the stage could not
        go on.
    """
    return asyncio.run(_run_stage(settings, name, listener, apply_settings=apply_settings))


async def _run_stage(settings: Settings, name: str, listener: socket.socket, *, apply_settings: bool) -> int:
    registry = CollectorRegistry()
    running: list[StageApp] = []
    refusals: list[str] = []

    def troubles() -> list[str]:
        if running:
            return running[0].troubles(time.time())
        waiting = f"waiting for Kafka at {settings.kafka.bootstrap_servers}"
        return [f"{name}: {reason}" for reason in refusals or [waiting]]

    WorkerMetrics(registry, name, troubles)
    ProcessMetrics(registry, name)
    HealthServer(listener, partial(generate_latest, registry), troubles).start()
    log.info("worker starts", stage=name, **_address(listener))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        if not await _wait_for_cluster(settings, name, refusals, stop):
            return EXIT_FINE
        options = {"apply_settings": True} if apply_settings and name == "detect" else {}
        app = APPS[name](settings, registry, **options)
    except (SettingsError, TopicsError) as error:
        for line in str(error).splitlines():
            log.error(line)
        return EXIT_SETTINGS
    running.append(app)
    settle_collector()
    return await _run_app(app, stop)


def _address(listener: socket.socket) -> dict[str, int]:
    """Return what the log says of where a worker listens: a stage of a parent is asked by nobody else."""
    return {} if listener.family == socket.AF_UNIX else {"http_port": listener.getsockname()[1]}


def settle_collector() -> None:
    """Have the garbage collector leave alone what start-up has made, and look at the rest less often.

    By default its full collections visit every object and every reporter of an epoch: with a million reporters one
    takes over 100 ms, during which the event loop stands still.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _wait_for_cluster(settings: Settings, name: str, refusals: list[str], stop: asyncio.Event) -> bool:
    """Return True once the cluster answers and its topics fit, False if told to stop before.

    Meanwhile `refusals` says why brokers that answer do not let the stage in. It goes on trying then too, as rotated
    passwords and new certificates, here and there, do not arrive at the same moment.
    """
    delay_s = _FIRST_DELAY_S
    while not stop.is_set():
        try:
            await asyncio.to_thread(_check_topics, settings, name)
        except UnreachableError as error:
            refusals[:] = [str(error)] if isinstance(error, RefusedError) else []
            log.warning(str(error), next_try_s=delay_s)
            try:
                await asyncio.wait_for(stop.wait(), delay_s)
            except TimeoutError:
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        else:
            return True
    return False


def _check_topics(settings: Settings, name: str) -> None:
    with Cluster(settings) as cluster:
        cluster.require_rights(rights(Role(name), settings), name)
        findings = list(cluster.findings())
    if findings:
        raise TopicsError("\n".join(findings))


async def _run_app(app: StageApp, stop: asyncio.Event) -> int:
    starting = asyncio.create_task(app.start())
    crashed = asyncio.create_task(app._crashed.wait())  # mode has no public way to wait for a crash
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, crashed, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and starting.exception() is None:
        await asyncio.wait({crashed, stopping}, return_when=asyncio.FIRST_COMPLETED)
    code = EXIT_FINE
    if not stop.is_set():
        reason = app.crash_reason or (starting.exception() if starting.done() else None)
        code = EXIT_SETTINGS if isinstance(reason, SettingsError) else EXIT_GAVE_UP
        log.error("the stage cannot go on", reason=f"{type(reason).__name__}: {reason}")
    try:
        await asyncio.wait_for(app.stop(), STOP_S)
    except (TimeoutError, asyncio.CancelledError):
        log.warning("the stage did not stop in time", limit_s=STOP_S)
    # Faust's threads may outlive a crash; nothing is lost, for the last commit is a rebuild point
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def end_with_parent(health_socket: Path | None) -> None:
    """Stop this process when its standard input closes: when the parent has ended, however that came about.

    Parameters
    ----------
    health_socket
        The Unix socket that the parent asks, if there is one; nobody does after that, and it is removed.
    """

    def watch() -> None:
        # not through sys.stdin, whose lock would make the interpreter abort when it ends for another reason
        while os.read(0, 1024):
            pass
        if health_socket is not None:
            health_socket.unlink(missing_ok=True)
            with suppress(OSError):  # the last stage removes the folder, unless the parent could
                health_socket.parent.rmdir()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def run_stages(workers: Workers, listener: socket.socket, stop: threading.Event) -> int:
    """Serve the health of child processes and start them again, until told to stop.

    Parameters
    ----------
    workers
        The children; they are ended at the end.
    listener
        The socket on which metrics and probes of all of them are served.
    stop
        Tells to stop.

    Returns
    -------
    int
        The exit code; see `Workers.watch`.
    """
    try:
        gathering = Gathering(workers.sockets, workers.metrics, workers.registry)
        HealthServer(listener, gathering.metrics, gathering.troubles).start()
        log.info("workers start", stages=list(workers.sockets), **_address(listener))
        return workers.watch(stop)
    finally:
        workers.end()


class Workers:
    """Child processes, one for each stage; one that ends is started again.

    Each serves its metrics and probes on a Unix socket in a temporary folder.

    Parameters
    ----------
    command
        The command line of a child but for the stage.
    stages
        Which stages to run.
    environment
        What the children get in addition to this process's environment.
    output
        The file that takes what the children print and log, if not this process's own output.
    """

    def __init__(
        self,
        command: Sequence[str],
        stages: Sequence[str] = STAGES,
        environment: Mapping[str, str] | None = None,
        output: IO[Any] | None = None,
    ) -> None:
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._output = output
        self.registry = CollectorRegistry()
        self.metrics = ParentMetrics(self.registry, stages)
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-worker-", ignore_cleanup_errors=True)
        #: Where each child serves metrics and probes.
        self.sockets = {stage: Path(self._folder.name, stage) for stage in stages}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for stage in stages:
                self.children[stage] = self._spawn(stage)
        except BaseException:  # Ctrl-C too: nobody else knows of those that run
            self.end()
            raise
        self._delays_s = dict.fromkeys(stages, _FIRST_DELAY_S)

    def _spawn(self, stage: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, stage, "--end-with-parent", "--health-socket", str(self.sockets[stage])],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            env=self._environment,
        )

    def watch(self, stop: threading.Event) -> int:
        """Start children again until told to stop.

        Returns
        -------
        int
            0 when told to stop; a child's 2 if the settings do not fit, as no restart would help.
        """
        again: dict[str, float] = {}
        while not stop.wait(0.2):
            for stage, child in self.children.items():
                code = child.poll()
                if code is None:
                    continue
                if code == EXIT_SETTINGS:
                    return EXIT_SETTINGS
                if stage not in again:
                    log.warning("worker ended", stage=stage, exit_code=code, restart_s=self._delays_s[stage])
                    again[stage] = time.monotonic() + self._delays_s[stage]
                    self._delays_s[stage] = min(2 * self._delays_s[stage], _LONGEST_DELAY_S)
                elif time.monotonic() >= again[stage]:
                    del again[stage]
                    self.metrics.restarted(stage)
                    self.children[stage] = self._spawn(stage)
        return EXIT_FINE

    def end(self) -> None:
        """Stop all children, wait for them and remove their sockets."""
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(STOP_S + 5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._folder.cleanup()
