"""The budget of false alarms: what a raise takes on top of the detector's threshold, service by service.

A detector's threshold gives the rate of false alarms that was asked for as long as its model of the counts holds. Where
counts are wilder than that, the raises themselves say so: each one that nobody confirms makes the next one harder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from streams.events import DAY_MS

#: By how much an opened outage raises the threshold, in nats.
RISE_PER_RAISE = 2.0
#: The highest threshold, in nats: beyond it a detector would hardly raise at all.
MAX_THRESHOLD = 60.0
#: How long raises are remembered, for their rate.
MEMORY_MS = 30 * DAY_MS


class Budget(msgspec.Struct):
    """What is known of the raises of one service as of its last judged bin.

    Every raise counts as a false one, for nobody can confirm any yet. A raise is an outage that begins: its
    further incidents confirm its first one, and an outage in a hundred regions must not make the service deaf. It
    counts once the outage is over, else the other regions of the same outage would be seen late. The same raises give
    the same state, and the same bytes when it is encoded.

    `rise` is in nats, `pending` what the outage that goes on will add to it; `begun_ms` is the start of the first bin
    that could raise, `raised_ms` the ends of those bins of the last 30 days that did.
    """

    rise: float = 0.0
    pending: float = 0.0
    begun_ms: int | None = None
    raised_ms: list[int] = []

    def step(
        self,
        bin_ms: int,
        bin_end_ms: int,
        keys: int,
        mean_bins_between_false_alarms: float,
        *,
        raised: bool,
        ongoing: bool,
    ) -> None:
        """Take in a bin.

        Parameters
        ----------
        bin_ms, bin_end_ms
            Start and end of the bin.
        keys
            How many keys of the service there are.
        mean_bins_between_false_alarms
            What the budget leaves to one key.
        raised
            Whether an outage began in this bin.
        ongoing
            Whether an incident is open after it.

        Notes
        -----
        The sinking is what the raises of a key that keeps to the budget would lift on average, so that the rise tends
        to where the rate of raises is the one asked for (stochastic approximation: H. Robbins, S. Monro, Annals of
        Mathematical Statistics 22, 1951).
        """
        if self.begun_ms is None:
            self.begun_ms = bin_ms
        self.rise = max(0.0, self.rise - RISE_PER_RAISE * keys / mean_bins_between_false_alarms)
        if raised:
            self.pending += RISE_PER_RAISE
            self.raised_ms.append(bin_end_ms)
        if not ongoing:
            most = max(0.0, MAX_THRESHOLD - math.log(mean_bins_between_false_alarms))
            self.rise = min(self.rise + self.pending, most)
            self.pending = 0.0
        if self.raised_ms and self.raised_ms[0] <= bin_end_ms - MEMORY_MS:
            self.raised_ms = [each for each in self.raised_ms if each > bin_end_ms - MEMORY_MS]


def raises_per_30_days(budgets: Iterable[Budget], bin_end_ms: int) -> float:
    """Return the rate of raises of some services together: what they held raised, over the time that they hold.

    A service that has less than a day behind it is taken to have one, else its first raise would be a rate of hundreds.
    """
    rate = 0.0
    for each in budgets:
        if each.begun_ms is not None:
            held_ms = min(max(bin_end_ms - each.begun_ms, DAY_MS), MEMORY_MS)
            rate += len(each.raised_ms) * MEMORY_MS / held_ms
    return rate
