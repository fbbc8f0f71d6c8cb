"""The study in several processes: each takes a detector over the keys of a seed."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.sharedctypes import SynchronizedArray

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from benchmarks.study.clairvoyant import bound
from benchmarks.study.generator import MINUTE_MS
from benchmarks.study.runs import Result, conditions, run
from benchmarks.study.scenarios import SCENARIOS
from detectors import Detector

CLAIRVOYANT = "clairvoyant"
_done: SynchronizedArray[float] | None = None


@dataclass(frozen=True)
class Share:
    """What one process does: a detector over the keys of a seed."""

    place: int
    detector: str
    seed: int
    keys_per_cell: int
    learn_days: int
    watch_days: int
    branch_days: int
    calibration_days: int
    conditions: Sequence[str] | None
    with_outages: bool


def maker(text: str) -> Callable[[], Detector]:
    """Return what makes the detector that `text` names: `ratio`, or `ratio:above=4,min_excess=3`, or `module.Class`."""
    name, _, rest = text.partition(":")
    module, _, kind = name.rpartition(".")
    if not module:
        module = f"detectors.{name}"
        found = importlib.import_module(module)
        kind = next(each for each in dir(found) if getattr(getattr(found, each), "name", None) == name)
    made = getattr(importlib.import_module(module), kind)
    parameters = {key: float(value) for key, _, value in (each.partition("=") for each in rest.split(",") if each)}
    return lambda: made(MINUTE_MS, **parameters)


def prepare(done: SynchronizedArray[float]) -> None:
    """Give a process of the pool the array in which it says how far its shares have come."""
    global _done
    _done = done


def work(share: Share) -> Result:
    """Do a share."""

    def progress(done: float) -> None:
        if _done is not None:
            _done[share.place] = done

    if share.detector == CLAIRVOYANT:
        return bound(share.seed, SCENARIOS, days=share.calibration_days, progress=progress)
    under = conditions(share.learn_days, share.watch_days)
    if share.conditions is not None:
        wanted = share.conditions
        under = under[:1] + tuple(each for each in under[1:] if any(name in each.name for name in wanted))
    return run(
        maker(share.detector),
        share.seed,
        share.keys_per_cell,
        learn_days=share.learn_days,
        watch_days=share.watch_days,
        branch_days=share.branch_days,
        under=under,
        scenarios=SCENARIOS if share.with_outages else (),
        progress=progress,
    )


def results(shares: Sequence[Share], processes: int) -> dict[str, Result]:
    """Do all shares and return the results by detector."""
    context = multiprocessing.get_context("spawn")
    done = context.Array("d", len(shares))
    columns = (TextColumn("simulating"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
    with (
        ProcessPoolExecutor(processes, context, prepare, (done,)) as pool,
        shown or nullcontext(),
    ):
        futures: list[Future[Result]] = [pool.submit(work, share) for share in shares]
        task = shown.add_task("", total=len(shares)) if shown else None
        while wait(futures, timeout=0.5).not_done:
            if shown and task is not None:
                shown.update(task, completed=sum(done[:]))
            if any(each.done() and each.exception() for each in futures):
                break
        parts = [each.result() for each in futures]
    by_detector: dict[str, list[Result]] = {}
    for share, part in zip(shares, parts, strict=True):
        by_detector.setdefault(share.detector, []).append(part)
    return {name: Result.joined(own) for name, own in by_detector.items()}
