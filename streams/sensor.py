"""The sensor: whether reports arrive at all. Missing is not zero, and silence is not health.

Its series `*` counts every report by append time, whatever it says. It has a baseline of its own, in the same
detector as the services, so that a silence can be told from a quiet night.
"""

from __future__ import annotations

import math

import msgspec

from streams.bins import Bin
from streams.incidents import Loss

#: The sensor is lost once none came where its baseline expects this many: a Poisson count is 0 with e^-20 then.
LOST_AFTER_REPORTS = 20.0
#: A silence teaches nothing once this many were expected in it: a Poisson count is 0 with e^-10 then.
UNTAUGHT_FROM_REPORTS = 10.0
#: A bin without any report is silent, and clears nothing, where at least this many were expected.
SILENT_FROM_REPORTS = 1.0


class Sensing(msgspec.Struct, frozen=True):
    """What one bin can be used for.

    `observed` says that its counts mean anything, `covered` that every source covers it, `teaches` that it is a level
    at all: covered, and no longer silence where reports are expected. `silent` and `lost` grade the lack of reports;
    `loss` is set once it has lasted too long. `whole_bins` is the number of bins in a row, up to this one, whose counts
    hold all reports: covered, and neither silent nor lost.
    """

    observed: bool
    covered: bool
    teaches: bool
    silent: bool
    lost: bool
    loss: Loss | None
    whole_bins: int


class Sensor(msgspec.Struct):
    """State of the sensor as of the last judged bin.

    `expected` is the baseline of `*` in reports per bin (NaN while learning), `missed` the reports that it expected
    during the silence that goes on, `blind_bins` the number of bins in a row that were lost or not observed,
    `whole_bins` that of bins that hold all reports; before a log begins there is nothing to miss, so it begins with
    a window's.
    """

    whole_bins: int
    expected: float = math.nan
    missed: float = 0.0
    blind_bins: int = 0

    def sense(self, bin_: Bin, skipped_bins: int, unknown_after_bins: int) -> Sensing:
        """Take in the next bin and say what it can be used for.

        Parameters
        ----------
        bin_
            The bin.
        skipped_bins
            How many bins since the last one were never judged: nothing is known of them.
        unknown_after_bins
            The number of blind bins in a row after which nothing can be known of an incident any more.
        """
        expected = 0.0 if math.isnan(self.expected) else self.expected
        quiet = bin_.covered > 0 and bin_.arrived == 0
        if bin_.arrived:
            self.missed = 0.0
        elif quiet:
            self.missed += expected
        silent = quiet and expected >= SILENT_FROM_REPORTS
        lost = quiet and self.missed >= LOST_AFTER_REPORTS
        observed = bin_.covered > 0 and not lost
        covered = bin_.covered == bin_.sources

        blind_bins = self.blind_bins + skipped_bins + (not observed)
        loss: Loss | None = None
        # An observed bin says so too where it was a skip that lasted too long.
        if blind_bins >= unknown_after_bins and not (observed and self.blind_bins >= unknown_after_bins):
            loss = "sensor-lost" if lost else "gap"
        self.blind_bins = 0 if observed else blind_bins
        whole_before = 0 if skipped_bins else self.whole_bins
        self.whole_bins = whole_before + 1 if covered and not silent and not lost else 0
        return Sensing(
            observed=observed,
            covered=covered,
            teaches=covered and self.missed < UNTAUGHT_FROM_REPORTS,
            silent=silent,
            lost=lost,
            loss=loss,
            whole_bins=self.whole_bins,
        )
