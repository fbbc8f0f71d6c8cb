"""What the settings demand of an incident in one service and region: the limits on its raising and clearing.

Detectors know nothing of limits. A raise needs the detector and a window of at least `raise_above`; the level
below which a window counts towards clearing comes from `clear_below` where it is set, else from the detector.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.events import MINUTE_MS, WHOLE_SERVICE
from streams.settings import Policy, SettingsError

#: An incident with `clear_below` does not clear before its window is below this multiple of the expected one.
EXPECTED_MARGIN = 1.3
#: `raise_above` is at least this many hundredths of `clear_below`, so that a window between the two changes nothing.
RAISE_OVER_CLEAR_PERCENT = 115

_DEFAULTS = {"enabled": True, "raise_above": None, "clear_below": None, "min_open_minutes": 3, "clear_windows": 2}
#: What a wildcard does not set for a whole service: it means the reports of one region.
_OF_ONE_REGION = {"raise_above", "clear_below"}
_CACHED_KEYS = 65_536


class Limits(msgspec.Struct, frozen=True):
    """The policy for one service and region, all keys resolved.

    `raise_above` and `clear_below` are reports per window; `clear_windows` is the number of windows in a row that
    must be below; `min_open_bins` counts from the opening bin, itself included.
    """

    enabled: bool
    raise_above: int | None
    clear_below: int | None
    min_open_bins: int
    clear_windows: int

    def raises(self, detector_raised: bool, window: int) -> bool:
        """Return whether a bin raises; without `raise_above` its window needs one report at least."""
        return self.enabled and detector_raised and window >= (self.raise_above or 1)

    def clear_limit(self, expected: float, clear_level: float, window_bins: int, *, learning: bool = False) -> float:
        """Return the window count below which a window counts towards clearing.

        Parameters
        ----------
        expected, clear_level
            The detector's, in reports per bin; NaN where it has none.
        window_bins
            Number of bins in a window.
        learning
            Whether the detector has too little history: then its levels mean nothing, and without `clear_below` the
            limit is as far below `raise_above` as a `clear_below` would have to be.

        Returns
        -------
        float
            Reports per window; NaN, below which nothing is, where neither the policy nor the detector has a level.
        """
        if self.clear_below is None and learning:
            return math.nan if self.raise_above is None else self.raise_above * 100 / RAISE_OVER_CLEAR_PERCENT
        if self.clear_below is None:
            return clear_level * window_bins
        if math.isnan(expected):
            return self.clear_below
        return max(self.clear_below, EXPECTED_MARGIN * expected * window_bins)


class Policies:
    """The policies of a deployment, resolved for any service and region.

    Parameters
    ----------
    policies
        In the order of the settings file.
    bin_ms
        Length of a bin in milliseconds.

    Raises
    ------
    SettingsError
        If, for some service and region, `raise_above` is below 1.15 times `clear_below`. Overlaps of wildcards that
        no policy spells out are found by `limits`, when the first such name turns up.
    """

    def __init__(self, policies: Sequence[Policy], bin_ms: int) -> None:
        self._bin_ms = bin_ms
        self._policies = policies
        # Sorting is stable: of two equally specific policies the later one is applied last.
        self._by_specificity = sorted(range(len(policies)), key=lambda index: policies[index].specificity)
        self._cached = functools.lru_cache(maxsize=_CACHED_KEYS)(self._resolve)
        self._check_pairs()

    def limits(self, service: str, region: str) -> Limits:
        """Return the limits for a service and region.

        Raises
        ------
        SettingsError
            If `raise_above` is below 1.15 times `clear_below` there.
        """
        return self._cached(service, region)

    def _resolve(self, service: str, region: str) -> Limits:
        values: dict[str, Any] = dict(_DEFAULTS)
        set_by: dict[str, int] = {}
        for index in self._by_specificity:
            policy = self._policies[index]
            if policy.matches(service, region):
                others = _OF_ONE_REGION if region == WHOLE_SERVICE != policy.region else set()
                own = policy.model_dump(include=_DEFAULTS.keys() - others, exclude_none=True)
                values |= own
                set_by |= dict.fromkeys(own, index)
        clear_below = values["clear_below"]
        if clear_below is not None:
            least = _least_raise_above(clear_below)
            if values["raise_above"] is None:
                values["raise_above"] = least
            elif values["raise_above"] < least:
                raise SettingsError(
                    f"{self._name(set_by['raise_above'])}: raise_above = {values['raise_above']} is too close to "
                    f"clear_below = {clear_below} of {self._name(set_by['clear_below'])}, which holds for service "
                    f"{service!r}, region {region!r} too: an incident would open and clear in turns; "
                    f"raise_above = {least} or more (1.15 times clear_below) would do"
                )
        return Limits(
            enabled=values["enabled"],
            raise_above=values["raise_above"],
            clear_below=clear_below,
            min_open_bins=-(-values["min_open_minutes"] * MINUTE_MS // self._bin_ms),
            clear_windows=values["clear_windows"],
        )

    def _check_pairs(self) -> None:
        """Resolve a name for each pair of policies that contradict each other and may meet.

        A pattern is a name that it matches, and one that no exact name and few other patterns do: it stands for
        all names that only this pattern speaks of. `a*` and `*b` meet in their concatenation.
        """
        for low, high in itertools.product(self._policies, repeat=2):
            if low.raise_above is None or high.clear_below is None:
                continue
            if low.raise_above >= _least_raise_above(high.clear_below):
                continue
            for service, region in itertools.product(
                _meets(low.service, high.service), _meets(low.region, high.region)
            ):
                if low.matches(service, region) and high.matches(service, region):
                    self._resolve(service, region)

    def _name(self, index: int) -> str:
        policy = self._policies[index]
        return f"policy[{index}] (service {policy.service!r}, region {policy.region!r})"


def _least_raise_above(clear_below: int) -> int:
    # In integers: 1.15 * 100 is a little below 115 in floating point.
    return -(-clear_below * RAISE_OVER_CLEAR_PERCENT // 100)


def _meets(one: str, other: str) -> set[str]:
    return {one, other, one + other, other + one}
