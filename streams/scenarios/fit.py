"""Fit counts per minute to the quoted window counts of a scenario: `python -m streams.scenarios.fit NAME_OR_PATH`.

Window counts say little about single minutes, so the fit looks for the calmest curve that agrees with all of them:

1. a first curve through the rates that the figures imply (monotone cubic interpolation of logarithms: Fritsch and
   Butland, 1984), from the usual level at the outage's beginning to the usual level at its end;
2. the smoothest relative correction of it, in the sense of the smallest total second difference, that meets every
   figure: a linear program;
3. whole numbers, each the one below or above, that still meet every figure: an integer program. (Sums over intervals
   make a totally unimodular matrix, so such numbers exist wherever no `falling` figure stands in the way.)

The counts are written into the scenario file, below the line that says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator
from scipy.optimize import Bounds, LinearConstraint, milp

from streams.scenarios.baseline import Level, usual_counts, usual_means
from streams.scenarios.scenario import (
    BIN_MS,
    SUFFIX,
    WINDOW_BINS,
    Counts,
    Figure,
    Outage,
    ScenarioError,
    ScenarioFile,
    parse,
    time_ms,
)

GENERATED = "# Below this line: written by `python -m streams.scenarios.fit`, reports per minute, a quarter hour a row."

Floats = npt.NDArray[np.float64]


class InfeasibleError(Exception):
    """No curve meets the figures of a region; the message names it."""


def fit(file: ScenarioFile) -> dict[str, dict[str, list[int]]]:
    """Return the fitted counts per bin by service and region, for every outage of a scenario file.

    Raises
    ------
    InfeasibleError
        If the figures of a region contradict each other or the curve's shape.
    """
    counts: dict[str, dict[str, list[int]]] = {}
    for outage in file.outages:
        level = next(level for level in file.levels if (level.service, level.region) == (outage.service, outage.region))
        counts.setdefault(outage.service, {})[outage.region] = _fit_region(file, outage, level).tolist()
    return counts


def write(path: Path) -> None:
    """Fit the scenario file at `path` and write the counts into it."""
    head = path.read_text("utf-8").partition(GENERATED)[0].rstrip()
    rows = [head, "", GENERATED]
    for service, regions in fit(parse(head, str(path))).items():
        rows += ["", f"[counts.{service}]"]
        for region, counts in regions.items():
            lines = [counts[at : at + WINDOW_BINS] for at in range(0, len(counts), WINDOW_BINS)]
            rows += [f"{region} = [", *(f"  {', '.join(map(str, line))}," for line in lines), "]"]
    path.write_text("\n".join(rows) + "\n", "utf-8")


def _fit_region(file: ScenarioFile, outage: Outage, level: Level) -> Counts:
    start_ms = time_ms(file.start)
    bins = (time_ms(file.end) - start_ms) // BIN_MS
    timezone = file.regions[outage.region].timezone
    counts = usual_counts(file.baseline, level, timezone, start_ms, bins)
    means = usual_means(file.baseline, level, timezone, start_ms, bins)
    figures = [figure for figure in file.figures if (figure.service, figure.region) == (level.service, level.region)]
    span = slice((time_ms(outage.begins) - start_ms) // BIN_MS, (time_ms(outage.ends) - start_ms) // BIN_MS)
    first_curve = _first_curve(figures, means, span, start_ms)
    windows = _Windows(figures, counts, span, start_ms)
    try:
        counts[span] = _whole_numbers(_corrected(first_curve, windows), windows)
    except InfeasibleError as error:
        raise InfeasibleError(f"service {level.service!r}, region {level.region!r}: {error}") from error
    return counts


def _first_curve(figures: list[Figure], means: Floats, span: slice, start_ms: int) -> Floats:
    knots = {float(span.start): means[span.start], float(span.stop): means[span.stop - 1]}
    for figure in figures:
        count = figure.about if figure.about is not None else figure.exactly
        if count is not None:
            middle = (time_ms(figure.ends) - start_ms) / BIN_MS - figure.bins / 2
            knots[middle] = count / figure.bins
    at = sorted(knots)
    logarithms = PchipInterpolator(at, np.log([knots[t] for t in at]))
    return np.asarray(np.exp(logarithms(np.arange(span.start, span.stop) + 0.5)))


class _Windows:
    """The figures of a region as rows `low <= sums @ x <= high` over the bins of the outage.

    Bins before and after the outage are fixed: their reports are taken off the limits.
    """

    def __init__(self, figures: list[Figure], counts: Counts, span: slice, start_ms: int) -> None:
        fixed = counts.astype(np.float64)
        fixed[span] = 0
        rows, low, high = [], [], []
        for figure in figures:
            least = figure.exactly if figure.exactly is not None else figure.at_least
            most = figure.exactly if figure.exactly is not None else figure.at_most
            last_ms = time_ms(figure.until or figure.ends)
            for end_ms in range(time_ms(figure.ends), last_ms + 1, BIN_MS):
                end = (end_ms - start_ms) // BIN_MS
                row = np.zeros(len(counts))
                row[end - figure.bins : end] = 1
                if least is not None or most is not None:
                    rows.append(row)
                    low.append(-np.inf if least is None else least)
                    high.append(np.inf if most is None else most)
                if figure.falling and end_ms < last_ms:
                    falls = np.zeros(len(counts))
                    falls[end], falls[end - figure.bins] = 1, -1
                    rows.append(falls)
                    low.append(-np.inf)
                    high.append(0)
        matrix = np.array(rows)
        outside = matrix @ fixed
        self.sums = matrix[:, span]
        self.low, self.high = np.array(low) - outside, np.array(high) - outside


def _corrected(curve: Floats, windows: _Windows) -> Floats:
    """Return `curve` times one plus the smoothest correction that meets the windows."""
    n = len(curve)
    # Variables, none negative: corrections upwards and downwards, second differences upwards and downwards.
    effect = windows.sums * curve
    second, size = np.diff(np.eye(n), 2, axis=0), np.eye(n - 2)
    nothing = np.zeros((len(effect), n - 2))
    matrix = np.block([[effect, -effect, nothing, nothing], [second, -second, -size, size]])
    met = windows.sums @ curve
    low = np.concatenate([windows.low - met, np.zeros(n - 2)])
    high = np.concatenate([windows.high - met, np.zeros(n - 2)])
    # A slight preference for small corrections, else a constant one would be free.
    cost = np.concatenate([np.full(2 * n, 1e-3), np.ones(2 * (n - 2))])
    solution = milp(cost, constraints=LinearConstraint(matrix, low, high))
    if solution.x is None:
        raise InfeasibleError(f"no curve meets the figures ({solution.message})")
    return np.asarray(curve * (1 + solution.x[:n] - solution.x[n : 2 * n]))


def _whole_numbers(curve: Floats, windows: _Windows) -> Counts:
    """Return whole numbers next to `curve` that meet the windows and are nearest to it."""
    # The solver meets the limits to within 1e-7.
    below = np.floor(np.round(curve, 6))
    met = windows.sums @ below
    solution = milp(
        1 - 2 * (curve - below),
        integrality=np.ones(len(curve), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(windows.sums, windows.low - met, windows.high - met),
        options={"mip_rel_gap": 0.01, "time_limit": 60},
    )
    if solution.x is None:
        raise InfeasibleError(f"no whole numbers meet the figures ({solution.message})")
    return np.asarray(below + np.round(solution.x)).astype(np.int64)


def main(arguments: list[str]) -> int:
    """Fit the scenarios that are named, by name or path, and write their files."""
    if not arguments:
        sys.stderr.write("usage: python -m streams.scenarios.fit NAME_OR_PATH ...\n")
        return 2
    for argument in arguments:
        path = Path(argument) if argument.endswith(SUFFIX) else Path(__file__).with_name(argument + SUFFIX)
        try:
            write(path)
        except (OSError, ScenarioError, InfeasibleError) as error:
            sys.stderr.write(f"{path}: {error}\n")
            return 1
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
