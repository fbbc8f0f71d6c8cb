"""The chart of a soak run: memory by process and lag, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.criteria import MB
from benchmarks.samples import Sample
from streams.worker import STAGES


def draw(samples: Sequence[Sample], file: Path) -> None:
    """Write the chart of some samples as SVG; the same samples give the same file."""
    with mpl.rc_context({"svg.hashsalt": "tocsin", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(8, 7), layout="constrained")
        memory, lag, delay = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 1))
        minutes = [each.at_s / 60 for each in samples]
        for style, stage in zip(("-", "--", ":"), STAGES, strict=True):
            memory.plot(minutes, [each.rss_bytes.get(stage, float("nan")) / MB for each in samples], style, label=stage)
        memory.set(ylabel="resident memory, MB", ylim=(0, None))
        for style, stage in zip(("-", "--"), STAGES[:2], strict=True):
            lag.plot(minutes, [each.lag_records.get(stage, float("nan")) for each in samples], style, label=stage)
        lag.set(ylabel="lag, records", ylim=(0, None))
        for style, name, values in (
            ("-", "watermark", [each.watermark_delay_s for each in samples]),
            ("--", "last judged bin", [each.judged_delay_s for each in samples]),
        ):
            delay.plot(minutes, [float("nan") if each is None else each for each in values], style, label=name)
        delay.set(ylabel="behind the clock, s", xlabel="minutes", ylim=(0, None))
        for axes in (memory, lag, delay):
            axes.legend(loc="upper right", ncols=3, frameon=False)
        figure.savefig(file, metadata={"Date": None, "Title": "Soak run: memory, lag and delay"})
