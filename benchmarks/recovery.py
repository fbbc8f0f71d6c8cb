"""How long a stage takes to go on after it was killed, beside what is still arriving."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.child import in_child
from benchmarks.deployment import Deployment, WorkerError
from benchmarks.feed import feed
from benchmarks.fleet import Fleet
from benchmarks.samples import Sampler
from streams.intake import Intake
from streams.snapshots import Packed

#: How long before the end of an epoch the worker is killed: then nearly all of the epoch is read again.
_BEFORE_END_S = 3.0
_LIMIT_S = 240.0
_POLL_S = 0.1


class Recovery(NamedTuple):
    """What happened after a kill -9 of count at the end of an epoch, while `rate` reports a second went on arriving.

    Seconds from the start of the next worker: `assigned_s` until it has partitions, `caught_up_s` until less than a
    second of reports is left. `again` is how many records it read that were read before, `cpu_s` what it used.
    """

    rate: float
    epoch_s: int
    assigned_s: float
    caught_up_s: float
    again: int
    read: int
    cpu_s: float

    @property
    def reading_per_s(self) -> float:
        """Records read a second, from the assignment on."""
        return self.read / (self.caught_up_s - self.assigned_s)


def recovery(folder: Path, bootstrap_servers: str, rate: float, epoch_s: int) -> Recovery:
    """Kill count at the end of an epoch and measure how the next one catches up.

    Raises
    ------
    WorkerError
        If that takes too long.
    """
    prefix = f"recovery-{rate:.0f}"
    deployment = Deployment(folder, bootstrap_servers, prefix, {"count": {"epoch_s": epoch_s}})
    with deployment.worker("count") as sampler, ThreadPoolExecutor(1) as pool:
        start_s = time.time()
        kill_s = (start_s // epoch_s + 2) * epoch_s - _BEFORE_END_S
        seconds = round(kill_s - start_s + _LIMIT_S / 4)
        feeding = pool.submit(in_child, feed, deployment.settings, Fleet(rate, seconds, 4))
        time.sleep(kill_s - time.time())
        before = _positions(sampler)
        psutil.Process(sampler.pid).kill()
        with deployment.worker("count", ready=False) as sampler:
            found = _catch_up(sampler, rate, epoch_s, before)
        feeding.result()
        return found


def _positions(sampler: Sampler) -> dict[str, int]:
    return {labels["partition"]: int(value) for labels, value in sampler.metrics().get("tocsin_position", [])}


def _catch_up(sampler: Sampler, rate: float, epoch_s: int, before: dict[str, int]) -> Recovery:
    start_s = time.monotonic()
    first: dict[str, int] = {}
    assigned_s = 0.0
    while time.monotonic() - start_s < _LIMIT_S:
        time.sleep(_POLL_S)
        metrics = sampler.metrics()
        positions = {labels["partition"]: int(value) for labels, value in metrics.get("tocsin_position", [])}
        if not positions:
            continue
        if not first:
            first, assigned_s = positions, time.monotonic() - start_s
        if sum(sampler.lags(metrics).values()) < rate:
            return Recovery(
                rate=rate,
                epoch_s=epoch_s,
                assigned_s=assigned_s,
                caught_up_s=time.monotonic() - start_s,
                again=sum(before.values()) - sum(first.values()),
                read=sum(positions.values()) - sum(first.values()),
                cpu_s=sum(psutil.Process(sampler.pid).cpu_times()[:2]),
            )
    raise WorkerError(f"count did not catch up within {_LIMIT_S:.0f} s")


def restart_s(folder: Path, bootstrap_servers: str, baselines: Iterable[Packed]) -> float:
    """Return how long detect takes from its start until it is ready, with these snapshots in one partition."""
    packed = list(baselines)
    prefix = f"restart-{len(packed)}"
    deployment = Deployment(folder, bootstrap_servers, prefix, {"kafka": {"counts_partitions": 1}})
    with Intake(deployment.settings) as intake:
        intake.baselines({0: packed})
    start_s = time.monotonic()
    with deployment.worker("detect"):
        return time.monotonic() - start_s
