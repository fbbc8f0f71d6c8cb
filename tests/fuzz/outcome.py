"""What came of fuzzing a target."""

from __future__ import annotations

import hashlib
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.fuzz.target import SEPARATOR, Target


class Outcome(msgspec.Struct, kw_only=True):
    """How much was tried, and what was found.

    Attributes
    ----------
    target
        Name of the target.
    inputs
        How many inputs were judged.
    seconds
        How long that took.
    max_rss_mb
        The most memory that the process has had, in units of 10^6 bytes.
    finding
        The file of the input that something is wrong with, if there is one.
    trace
        What was raised.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    max_rss_mb: float = 0.0
    finding: str | None = None
    trace: str = ""


class Judge:
    """Judges input after input, counts them and keeps the one that something is wrong with.

    Parameters
    ----------
    target
        What judges.
    name
        Its name.
    inputs, seconds
        After how many inputs, or how long, it is enough.
    folder
        Where a finding is saved.
    """

    def __init__(self, target: Target, name: str, inputs: int, seconds: float, folder: Path) -> None:
        self._target = target
        self._inputs = inputs
        self._folder = folder
        self._begun_s = time.monotonic()
        self._until_s = self._begun_s + seconds
        self.outcome = Outcome(target=name)

    @property
    def done(self) -> bool:
        """Whether it is enough, or something was found."""
        outcome = self.outcome
        return outcome.finding is not None or outcome.inputs >= self._inputs or time.monotonic() >= self._until_s

    def judge(self, inputs: Sequence[bytes]) -> None:
        """Judge some inputs together, but no more than are asked for; each counts."""
        if self.outcome.finding is not None:
            return
        inputs = inputs[: self._inputs - self.outcome.inputs]
        self.outcome.inputs += len(inputs)
        try:
            self._target.judge(SEPARATOR.join(inputs))
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            self._found(inputs)

    def _found(self, inputs: Sequence[bytes]) -> None:
        """Keep the one input that something is wrong with, or all if it takes them all."""
        for data in [*inputs, SEPARATOR.join(inputs)]:
            try:
                self._target.judge(data)
            except Exception:  # noqa: BLE001 - whatever it is, it is a finding
                self.outcome.trace = traceback.format_exc()
                self.outcome.finding = str(save(self._folder, self.outcome.target, data))
                return
        self.outcome.trace = "what was raised for these inputs is not raised a second time"
        self.outcome.finding = str(save(self._folder, self.outcome.target, SEPARATOR.join(inputs)))

    def end(self) -> Outcome:
        """Return what came of it."""
        unit = 1 if sys.platform == "darwin" else 1024
        self.outcome.seconds = time.monotonic() - self._begun_s
        self.outcome.max_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
        return self.outcome


def save(folder: Path, name: str, data: bytes) -> Path:
    """Save an input and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(':', '.')}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path
