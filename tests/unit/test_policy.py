"""Limits for one service and region, from the policies of the settings file."""

import math

import pytest

from streams.policy import Limits, Policies
from streams.settings import Policy, SettingsError

MINUTE_MS = 60_000


def limits(*policies: Policy, service: str = "x", region: str = "US", bin_ms: int = MINUTE_MS) -> Limits:
    return Policies(policies, bin_ms).limits(service, region)


def test_without_policies_only_the_detector_decides() -> None:
    assert limits() == Limits(enabled=True, raise_above=None, clear_below=None, min_open_bins=3, clear_windows=2)


def test_each_key_comes_from_the_most_specific_policy_that_sets_it() -> None:
    resolved = limits(
        Policy(service="x", region="US", min_open_minutes=7),
        Policy(service="x", clear_below=650),
        Policy(region="US", clear_below=400, clear_windows=4),
        Policy(raise_above=1000, clear_below=300, clear_windows=5, enabled=False),
    )
    assert resolved == Limits(enabled=False, raise_above=1000, clear_below=650, min_open_bins=7, clear_windows=4)


def test_of_two_equally_specific_policies_the_later_one_counts() -> None:
    assert limits(Policy(service="x", clear_windows=3), Policy(service="x", clear_windows=4)).clear_windows == 4


def test_policies_of_other_services_and_regions_do_not_count() -> None:
    policies = Policies([Policy(service="x", region="U?", clear_windows=9)], MINUTE_MS)
    assert policies.limits("x", "UK").clear_windows == 9
    assert policies.limits("x", "DE").clear_windows == 2
    assert policies.limits("y", "UK").clear_windows == 2


def test_a_wildcard_sets_no_limit_of_one_region_for_the_whole_service() -> None:
    wildcards = (
        Policy(raise_above=750, clear_below=650, min_open_minutes=7),
        Policy(service="x", region="_*", raise_above=800, clear_windows=5),
    )
    whole = limits(*wildcards, region="_all")
    assert whole == Limits(enabled=True, raise_above=None, clear_below=None, min_open_bins=7, clear_windows=5)
    named = limits(*wildcards, Policy(region="_all", raise_above=9000), region="_all")
    assert (named.raise_above, named.clear_below, named.clear_windows) == (9000, None, 5)


@pytest.mark.parametrize(("bin_s", "bins"), [(60, 3), (30, 6), (100, 2), (3600, 1)])
def test_minimum_duration_is_rounded_up_to_whole_bins(bin_s: int, bins: int) -> None:
    assert limits(Policy(min_open_minutes=3), bin_ms=bin_s * 1000).min_open_bins == bins


@pytest.mark.parametrize(("clear_below", "raise_above"), [(100, 115), (650, 748), (1, 2)])
def test_raise_above_defaults_to_115_hundredths_of_clear_below(clear_below: int, raise_above: int) -> None:
    assert limits(Policy(clear_below=clear_below)).raise_above == raise_above
    assert limits(Policy(clear_below=clear_below, raise_above=raise_above)).raise_above == raise_above


def test_limits_too_close_together_are_refused_with_both_numbers_and_what_would_do() -> None:
    with pytest.raises(SettingsError) as error:
        Policies([Policy(clear_windows=2), Policy(service="x", raise_above=700, clear_below=650)], MINUTE_MS)
    message = str(error.value)
    assert "policy[1] (service 'x', region '*')" in message
    assert "raise_above = 700" in message
    assert "clear_below = 650" in message
    assert "raise_above = 748 or more" in message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Policy(raise_above=700), Policy(service="x", clear_below=650)),
        (Policy(service="x", raise_above=700), Policy(clear_below=650)),
        (Policy(service="x", raise_above=700), Policy(region="US", clear_below=650)),
        (Policy(service="x*", raise_above=700), Policy(service="*y", clear_below=650)),
        (Policy(service="x?", raise_above=700), Policy(service="x*", region="U*", clear_below=650)),
    ],
)
def test_limits_of_two_policies_that_meet_are_checked_before_any_name_turns_up(one: Policy, other: Policy) -> None:
    with pytest.raises(SettingsError, match=r"raise_above = 700 .* clear_below = 650"):
        Policies([one, other], MINUTE_MS)


def test_limits_of_policies_that_never_meet_may_differ_at_will() -> None:
    policies = Policies(
        [
            Policy(service="x", raise_above=100, clear_below=50),
            Policy(service="y", raise_above=2000, clear_below=1500),
            Policy(service="x", region="US", raise_above=3000, clear_below=2000),
        ],
        MINUTE_MS,
    )
    assert policies.limits("x", "DE").raise_above == 100
    assert policies.limits("y", "DE").clear_below == 1500
    assert policies.limits("x", "US").clear_below == 2000


def test_an_overlap_that_no_policy_spells_out_is_refused_when_a_name_falls_into_it() -> None:
    policies = Policies([Policy(service="a*c", raise_above=700), Policy(service="*b*", clear_below=650)], MINUTE_MS)
    assert policies.limits("ac", "US").raise_above == 700
    with pytest.raises(SettingsError, match="'abc'"):
        policies.limits("abc", "US")


@pytest.mark.parametrize(
    ("enabled", "raise_above", "detector_raised", "window", "raises"),
    [
        (True, 750, True, 750, True),
        (True, 750, True, 749, False),
        (True, 750, False, 5000, False),
        (False, 750, True, 5000, False),
        (True, None, True, 1, True),
        (True, None, True, 0, False),
    ],
)
def test_a_raise_needs_the_detector_and_the_window(
    enabled: bool, raise_above: int | None, detector_raised: bool, window: int, raises: bool
) -> None:
    policy = limits(Policy(enabled=enabled, raise_above=raise_above))
    assert policy.raises(detector_raised, window) is raises


@pytest.mark.parametrize(
    ("clear_below", "expected", "clear_level", "limit"),
    [
        (650, 4.0, 1.0, 650),
        (650, 100.0, 1.0, 1950),
        (650, math.nan, 1.0, 650),
        (None, 100.0, 6.0, 90),
    ],
)
def test_level_that_a_window_of_15_bins_must_fall_below(
    clear_below: int | None, expected: float, clear_level: float, limit: float
) -> None:
    assert limits(Policy(clear_below=clear_below)).clear_limit(expected, clear_level, 15) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("policy", "limit"),
    [(Policy(raise_above=230), 200.0), (Policy(raise_above=230, clear_below=150), 150.0), (Policy(), math.nan)],
)
def test_while_the_detector_is_learning_the_limit_to_clear_comes_from_the_policy_alone(
    policy: Policy, limit: float
) -> None:
    found = limits(policy).clear_limit(math.nan, 6.0, 15, learning=True)
    assert found == pytest.approx(limit, nan_ok=True)


def test_no_window_is_below_the_level_of_a_detector_that_has_none() -> None:
    assert math.isnan(limits().clear_limit(4.0, math.nan, 15))
