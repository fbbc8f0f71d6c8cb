"""How long the overview of many services takes to appear in Chromium, and how its updates keep the browser busy.

A process of its own answers as `tocsin web` does, without Kafka, and enters the levels of all services in one more bin
every few seconds. Each load is that of a new visitor, with an empty cache.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from prometheus_client import CollectorRegistry

from streams.archive import QUARTER_MS
from streams.events import DAY_MS, MINUTE_MS, Level, Levels, LevelState, QuarterLevel, QuarterLevels, encode
from streams.metrics import WebMetrics
from streams.settings import Settings, Web
from streams.topics import Topics
from streams.web.hub import Hub
from streams.web.model import Fact, ReadModel
from streams.web.server import application, listen, serve
from streams.web.site import Site

START_MS = 1_748_088_000_000
_REGIONS = ("GB", "US")
#: Expected reports of a region in a bin, and what is counted in one that fails.
_MEAN, _FAILING = 3.0, 400.0
_AT_ONCE = 2000
#: Told by the browser: when it painted, and each stretch of over 50 ms in which it could not react.
_OBSERVE = """
window.tasks = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) tasks.push({ startMs: each.startTime, lengthMs: each.duration });
}).observe({ type: "longtask", buffered: true });
"""
_PAINTED = "performance.getEntriesByType('paint').map((each) => [each.name, each.startTime])"


class Facts:
    """What detect would state of many services, bin after bin; the first of them fail.

    Parameters
    ----------
    services
        How many.
    failing
        How many of them have an outage; they are held every fifth bin, so that what is said of them changes.
    """

    def __init__(self, services: int, failing: int) -> None:
        self._topics = Topics(Settings().kafka.prefix)
        self._names = [f"service-{number:04}" for number in range(services)]
        self._failing = failing
        self._rng = np.random.default_rng(1)

    def day(self) -> Iterator[Fact]:
        """Yield the quarters of the day before."""
        for start_ms in range(START_MS - DAY_MS, START_MS, QUARTER_MS):
            counts = self._rng.poisson(15 * _MEAN, (len(self._names), len(_REGIONS))).tolist()
            for name, own in zip(self._names, counts, strict=True):
                regions = [
                    QuarterLevel(
                        region=region, bins=15, count=each, window=each, peak=each, expected=15 * _MEAN, state="normal"
                    )
                    for region, each in zip(_REGIONS, own, strict=True)
                ]
                value = encode(QuarterLevels(service=name, start_ms=start_ms, regions=regions))
                yield Fact(self._topics.levels_15m, 0, 0, value)

    def bin(self, number: int) -> list[Fact]:
        """Return the levels of all services in one bin."""
        bin_ms = START_MS + number * MINUTE_MS
        means = np.where(np.arange(len(self._names)) < self._failing, _FAILING, _MEAN)
        counts = self._rng.poisson(means[:, None], (len(self._names), len(_REGIONS))).tolist()
        found = []
        for index, (name, own) in enumerate(zip(self._names, counts, strict=True)):
            state: LevelState = "normal" if index >= self._failing else "held" if number % 5 == 4 else "open"
            regions = [
                Level(
                    region=region,
                    count=each,
                    window=15 * each,
                    expected=_MEAN,
                    score=0.4321,
                    score_threshold=5.0,
                    raise_above=None,
                    clear_below=None,
                    state=state,
                    incident=f"{name}.{region}.20250524T1200Z" if index < self._failing else None,
                )
                for region, each in zip(_REGIONS, own, strict=True)
            ]
            value = encode(Levels(service=name, bin_ms=bin_ms, regions=regions))
            found.append(Fact(self._topics.levels, 0, 0, value))
        return found


def answer(port: int, services: int, failing: int, every_s: float) -> None:
    """Answer until told to end, and enter a bin every `every_s` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(web=Web(database=str(Path(folder, "web.sqlite3")), port=port))
        model = ReadModel(settings)
        facts = Facts(services, failing)
        day = list(facts.day())
        for start in range(0, len(day), _AT_ONCE):
            model.apply(day[start : start + _AT_ONCE], {})
        for number in range(15):
            model.apply(facts.bin(number), {})
        registry = CollectorRegistry()
        metrics = WebMetrics(registry)
        site = Site(settings, lambda: ("live", None, 0.0))
        hub = Hub(site.changes, site.status, metrics, settings.web.max_streams)
        stop = threading.Event()

        def unfold() -> None:
            number = 15
            while not stop.wait(every_s):
                model.apply(facts.bin(number), {})
                hub.changed()
                number += 1

        thread = threading.Thread(target=unfold)
        thread.start()
        try:
            serve(site, hub, application(site, hub, metrics, registry), listen(settings))
        finally:
            stop.set()
            thread.join()
            model.close()


def load(browser: Browser, address: str, size: tuple[int, int], slower: float) -> tuple[Page, dict[str, Any]]:
    """Open the overview as somebody who was never there, and return what it took in milliseconds."""
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.add_init_script(_OBSERVE)
    page.goto(address, wait_until="load")
    page.wait_for_selector(".spark .line", state="attached")
    page.wait_for_timeout(300)  # for what the browser does after that
    paints = dict(page.evaluate(_PAINTED))
    tasks = [each["lengthMs"] for each in page.evaluate("tasks")]
    return page, {
        "first paint": paints["first-paint"],
        "first contentful paint": paints["first-contentful-paint"],
        "longest task of loading": max(tasks, default=0.0),
    }


def follow(page: Page, bins: int) -> tuple[list[float], float]:
    """Return the lengths of the long tasks of so many updates in milliseconds, and the bytes that one takes."""
    received = [0]
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def took(length: int) -> None:
        received[0] += length

    # what the stream brings is no data that has been received to Chromium, but messages
    session.on("Network.dataReceived", lambda event: took(event["encodedDataLength"]))
    session.on("Network.eventSourceMessageReceived", lambda event: took(len(event["data"])))
    page.evaluate("tasks.length = 0")
    for _ in range(bins):
        shown = page.locator("#asof time").get_attribute("datetime")
        page.wait_for_function("shown => document.querySelector('#asof time').dateTime !== shown", arg=shown)
    page.wait_for_timeout(1000)
    return [each["lengthMs"] for each in page.evaluate("tasks")], received[0] / bins


def measure(asked: argparse.Namespace) -> None:
    """Measure and print."""
    services, failing, loads, bins, every_s = asked.services, asked.failing, asked.loads, asked.bins, asked.every
    width, height = map(int, asked.size.split("x"))
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed (Debian package chromium)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--serve", str(port), f"--services={services}", f"--failing={failing}"]
    server = subprocess.Popen([*command, f"--every={every_s}"], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        _until_ready(server, address)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            found = []
            for number in range(loads):
                page, took = load(browser, address, (width, height), asked.slower)
                found.append(took)
                if number < loads - 1:
                    page.context.close()
            watched = psutil.Process(server.pid)
            cpu_s, begun_s = sum(watched.cpu_times()[:2]), time.monotonic()
            tasks, received = follow(page, bins)
            cpu_s, wall_s = sum(watched.cpu_times()[:2]) - cpu_s, time.monotonic() - begun_s
            browser.close()
    finally:
        server.terminate()
        server.wait()
    print(f"{services} services, {failing} of them failing; {loads} loads; {asked.size}; {asked.slower} times slower")
    for name in found[0]:
        values = sorted(each[name] for each in found)
        print(f"{name}: median {values[len(values) // 2]:.0f} ms, longest {values[-1]:.0f} ms")
    print(
        f"{bins} updates: {received / 1000:.0f} kB each; {len(tasks)} tasks over 50 ms, "
        f"the longest {max(tasks, default=0):.0f} ms; {1000 * cpu_s / (wall_s / every_s):.0f} ms of the server a bin"
    )


def _until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    deadline_s = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"{address}readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server does not answer")


def main() -> None:
    """Measure and print, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--failing", type=int, default=5)
    parser.add_argument("--loads", type=int, default=10)
    parser.add_argument("--bins", type=int, default=20, help="how many updates are watched")
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="between bins")
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--slower", type=float, default=1, help="times that Chromium slows its page down")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        answer(asked.serve, asked.services, asked.failing, asked.every)
        return
    measure(asked)


if __name__ == "__main__":
    main()
