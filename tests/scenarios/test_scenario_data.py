"""What the scenario files hold, against the figures that they quote."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streams.events import DAY_MS, MINUTE_MS
from streams.scenarios import Scenario, ScenarioError, history, load, names
from streams.scenarios.fit import InfeasibleError, fit
from streams.scenarios.fit import write as write_fit
from streams.scenarios.scenario import BIN_MS, ScenarioFile, build, parse, time_ms

X = load("x-2025-05-24")
X_MIDNIGHT_MS = 1_748_044_800_000
US = X.windows("x", "US")


def at(clock: str) -> int:
    hours, minutes = clock.split(":")
    return X_MIDNIGHT_MS + (int(hours) * 60 + int(minutes)) * MINUTE_MS


def windows_between(first: str, last: str) -> list[int]:
    return [US[end_ms] for end_ms in range(at(first), at(last) + 1, MINUTE_MS)]


def test_the_scenarios_that_come_with_tocsin() -> None:
    assert names() == [
        "att-2024-02-22",
        "cloudflare-2025-11-18",
        "dips-30",
        "dips-90",
        "meta-2024-03-05",
        "ordinary-day",
        "prank-burst",
        "silent-sensor",
        "three-waves",
        "x-2025-05-24",
    ]


# X, 24 May 2025


def test_x_has_its_usual_level_of_63_before_eight_eastern_and_on_other_days() -> None:
    before = windows_between("11:15", "12:00")
    assert np.mean(before) == pytest.approx(63, rel=0.15)
    assert max(before) < 100
    usual = [counts["x", "US"] for _, counts in history(X, days=7)]
    assert 15 * np.mean(usual) == pytest.approx(63, rel=0.02)


def test_x_rises_within_eight_minutes_and_passes_750_by_1203() -> None:
    bins = X.counts["x", "US"][60:]
    assert min(bins[:3]) > 100, "three high bins end by 12:03"
    assert US[at("12:02")] < 650 < 750 < US[at("12:03")]
    assert bins[8] > 0.9 * max(bins)


def test_x_is_over_25000_by_1226() -> None:
    assert US[at("12:26")] > 25_000


def test_x_has_its_only_peak_of_25800_at_1251() -> None:
    assert US[at("12:51")] == 25_800
    assert all(count < 25_800 for end_ms, count in US.items() if end_ms != at("12:51"))


def test_x_declines_from_the_peak_without_a_rise() -> None:
    assert all(later <= earlier for earlier, later in pairwise(windows_between("12:51", "16:30")))


def test_x_is_at_690_at_1530_and_below_650_from_1609_on() -> None:
    assert US[at("15:30")] == 690
    assert min(windows_between("12:03", "16:08")) >= 651
    assert US[at("16:09")] == 649
    assert max(windows_between("16:10", "17:00")) < 650
    assert US[at("17:00")] < 100


def test_x_is_smooth_between_the_figures() -> None:
    # A fit to sums over 15 bins is free to saw with that period; the curve must not.
    bins = X.counts["x", "US"][70:270].astype(float)
    assert max(abs(np.diff(bins, 2))) <= 8


def test_x_ranks_the_united_states_the_united_kingdom_and_germany_first() -> None:
    peaks = {X.region_names[region]: max(X.windows("x", region).values()) for _, region in X.counts}
    assert sorted(peaks, key=lambda name: -peaks[name])[:3] == ["United States", "United Kingdom", "Germany"]
    assert peaks["United Kingdom"] > 11_000
    assert all(peaks[name] >= 2_000 for name in ("Germany", "Spain", "France", "India", "Canada", "Australia"))


@pytest.mark.parametrize("region", sorted(region for _, region in X.counts))
@pytest.mark.parametrize("level", [650, 750])
def test_every_region_of_x_rises_once_and_is_over_before_the_united_states(region: str, level: int) -> None:
    windows = X.windows("x", region)
    above = [end_ms for end_ms, count in windows.items() if count >= level]
    assert above == list(range(above[0], above[-1] + 1, MINUTE_MS))
    assert above[-1] <= at("16:08")
    if region != "US":
        assert max(windows[end_ms] for end_ms in range(at("15:55"), at("17:00") + 1, MINUTE_MS)) < 80


def test_the_kinds_of_x_have_their_quoted_shares() -> None:
    total = {"app": 0, "website": 0, "server-connection": 0}
    for (_, region, kind), counts in X.cells().items():
        reports = int(counts.sum())
        total[kind] += reports
        share = {"app": 0.69, "website": 0.23, "server-connection": 0.08}[kind]
        assert abs(reports - share * X.counts["x", region].sum()) < 5
    assert {kind: round(100 * reports / X.total) for kind, reports in total.items()} == {
        "app": 69,
        "website": 23,
        "server-connection": 8,
    }


# All files


@pytest.mark.parametrize("name", names())
def test_every_file_says_what_is_quoted_and_what_is_assumed(name: str) -> None:
    scenario = load(name)
    assert scenario.title
    assert scenario.file.assumed
    assert bool(scenario.file.quoted) == (not name.startswith("dips-"))


@pytest.mark.parametrize("name", names())
def test_the_counts_meet_every_figure_of_the_file(name: str) -> None:
    file = load(name).file
    broken = []
    for figure in file.figures:
        counts = file.counts[figure.service][figure.region]
        last_ms = time_ms(figure.until or figure.ends)
        windows = []
        for end_ms in range(time_ms(figure.ends), last_ms + 1, BIN_MS):
            end = (end_ms - time_ms(file.start)) // BIN_MS
            windows.append(sum(counts[end - figure.bins : end]))
        if (
            (figure.exactly is not None and set(windows) != {figure.exactly})
            or (figure.at_least is not None and min(windows) < figure.at_least)
            or (figure.at_most is not None and max(windows) > figure.at_most)
            or (figure.falling and any(later > earlier for earlier, later in pairwise(windows)))
        ):
            broken.append((figure, windows))
    assert not broken


def below(scenario: Scenario, region: str, limit: int) -> list[int]:
    return [end_ms for end_ms, count in scenario.windows("x", region).items() if count < limit]


@pytest.mark.parametrize(("name", "minutes"), [("dips-30", 30), ("dips-90", 90)])
def test_a_dip_is_one_stretch_of_that_many_minutes_below_650(name: str, minutes: int) -> None:
    scenario = load(name)
    low = below(scenario, "US", 650)
    dip = [end_ms for end_ms in low if at("13:00") < end_ms - (scenario.start_ms - at("11:00")) <= at("15:10")]
    assert dip == list(range(dip[0], dip[0] + minutes * MINUTE_MS, MINUTE_MS))
    first_after = scenario.windows("x", "US")[dip[-1] + MINUTE_MS]
    assert first_after > 750


def test_three_waves_never_fall_below_their_troughs_of_4000() -> None:
    scenario = load("three-waves")
    windows = scenario.windows("x", "US")
    day_ms = scenario.start_ms - 8 * 60 * MINUTE_MS

    def between(first: float, last: float) -> list[int]:
        return [count for end_ms, count in windows.items() if first <= (end_ms - day_ms) / (60 * MINUTE_MS) <= last]

    assert max(between(9.5, 10)) == 21_000
    assert min(between(10, 13)) == 4_000
    assert max(between(13.5, 14)) > 40_000
    assert min(between(14, 15)) == 4_000
    assert min(between(15.25, 16)) >= 25_000
    assert max(between(15, 16)) <= 35_000
    assert windows[day_ms + (17 * 60 + 45) * MINUTE_MS] == 12_000
    assert max(between(20, 21)) < 650
    assert max(scenario.windows("x", "GB").values()) == 10_800


def test_the_silent_sensor_hears_nothing_for_45_minutes_while_x_fails() -> None:
    scenario = load("silent-sensor")
    everything = np.sum(list(scenario.counts.values()), axis=0)
    silent = np.flatnonzero(everything == 0)
    assert silent.tolist() == list(range(120, 165))
    assert everything[119] > 700
    assert everything[165] > 500
    # Without the outage the intake as a whole would expect at least 20 reports a minute.
    assert np.mean([sum(counts.values()) for _, counts in history(scenario, days=1)]) > 40


def test_the_burst_is_800_reports_in_one_minute_of_an_ordinary_afternoon() -> None:
    bins = load("prank-burst").counts["x", "US"]
    assert bins.max() >= 800
    assert np.sort(bins)[-2] < 30


def test_ordinary_levels_span_four_orders_of_magnitude_and_scatter_more_than_chance() -> None:
    scenario = load("ordinary-day")
    days = [counts for _, counts in history(scenario, days=7)]
    means = {series: np.mean([counts[series] for counts in days]) for series in scenario.counts}
    assert min(means.values()) == pytest.approx(0.5, rel=0.1)
    assert max(means.values()) == pytest.approx(500, rel=0.1)
    assert len(scenario.services) == 3
    for level in scenario.file.levels:
        bins = np.array([counts[level.service, level.region] for counts in days], dtype=float)
        # Within a quarter hour the mean hardly moves.
        blocks = bins.reshape(-1, 15)
        ratio = np.mean(blocks.var(axis=1, ddof=1)) / np.mean(blocks)
        assert ratio == pytest.approx(level.dispersion, rel=0.15)


# History


def test_history_ends_where_the_scenario_starts_and_covers_every_bin() -> None:
    bins = list(history(X, days=2))
    assert [start_ms for start_ms, _ in bins] == list(range(X.start_ms - 2 * DAY_MS, X.start_ms, BIN_MS))
    assert all(set(counts) == set(X.counts) for _, counts in bins)


def test_history_is_the_same_every_time_and_however_long() -> None:
    assert list(history(X, days=2))[1440:] == list(history(X, days=1)) == list(history(load("x-2025-05-24"), days=1))


def test_history_follows_the_local_clock_through_the_change_to_daylight_time() -> None:
    # The United States changed their clocks on 9 March 2025, the day before the three waves; levels follow the clock.
    file = load("three-waves").file
    night = [0.01] * 3 + [50.0] + [0.01] * 20
    daylight = parse_with(file, night)
    by_start = {start_ms: counts["x", "US"] for start_ms, counts in history(daylight, days=3)}
    midnight_utc = daylight.start_ms - 8 * 60 * MINUTE_MS
    half_past_three_est = midnight_utc - 2 * DAY_MS + (8 * 60 + 30) * MINUTE_MS
    half_past_three_edt = midnight_utc - DAY_MS + (7 * 60 + 30) * MINUTE_MS
    assert by_start[half_past_three_est] > 50
    assert by_start[half_past_three_edt] > 50
    assert by_start[half_past_three_edt + 60 * MINUTE_MS] < 50


def parse_with(file: ScenarioFile, daily_shape: list[float]) -> Scenario:
    baseline = msgspec.structs.replace(file.baseline, daily_shape=tuple(daily_shape))
    return build("altered", msgspec.structs.replace(file, baseline=baseline))


# Files of one's own

SMALL = """
title = "Half an hour"
start = 2025-05-24T11:00:00Z
end = 2025-05-24T12:00:00Z
quoted = []
assumed = ["everything"]
levels = [{ region = "US", mean_per_minute = 4.2 }]
outages = [{ region = "US", begins = 2025-05-24T11:20:00Z, ends = 2025-05-24T11:55:00Z }]
figures = [
  { region = "US", ends = 2025-05-24T11:40:00Z, exactly = 1000, basis = "assumed" },
  { region = "US", ends = 2025-05-24T11:55:00Z, at_most = 300, basis = "assumed" },
]
kinds = { app = 100 }
regions = { US = { name = "United States", timezone = "America/New_York" } }
[baseline]
seed = 1
daily_shape = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
weekly_shape = [1, 1, 1, 1, 1, 1, 1]
"""


def test_a_scenario_of_ones_own_is_fitted_and_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    with pytest.raises(ScenarioError, match=r"mine: .*fit it"):
        load(str(path))
    write_fit(path)
    windows = load(str(path)).windows("x", "US")
    assert windows[at("11:40")] == 1000
    assert windows[at("11:55")] <= 300
    assert path.read_text().startswith(SMALL.rstrip())

    once = path.read_text()
    write_fit(path)
    assert path.read_text() == once


def test_figures_that_contradict_each_other_are_an_error_that_names_the_region() -> None:
    impossible = SMALL.replace(
        "exactly = 1000",
        'at_least = 1000, basis = "assumed" }, { region = "US", ends = 2025-05-24T11:40:00Z, at_most = 999',
    )
    with pytest.raises(InfeasibleError, match="region 'US'"):
        fit(parse(impossible, "impossible.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("quoted = []", "quotes = []", "quotes"),
        ("11:00:00Z\nend", "11:05:00Z\nend", "quarter hours"),
        ("app = 100", "app = 99", "kinds"),
        ('levels = [{ region = "US"', 'levels = [{ region = "FR"', "FR"),
        ("ends = 2025-05-24T11:40:00Z, exactly", 'service = "y", ends = 2025-05-24T11:40:00Z, exactly', "'y'"),
        ("title", "title = ", "Invalid"),
        ("mean_per_minute = 4.2", "mean_per_minute = 0", "mean_per_minute"),
        ("[baseline]", "[counts.x]\nUS = [1, 2]\n[baseline]", "60 non-negative"),
        ("America/New_York", "America/Nowhere", "America/Nowhere"),
        ("ends = 2025-05-24T11:40:00Z", "ends = 2025-05-24T11:14:00Z", "from 2025-05-24T10:59:00"),
        ("ends = 2025-05-24T11:40:00Z", "ends = 2025-05-24T11:40:30Z", "whole minutes"),
        ("ends = 2025-05-24T11:40:00Z", "ends = 2025-05-24T11:40:00", "timezone"),
        ('"US", mean', '"US", service = "a b", mean', "levels"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_entry(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMALL
    path = tmp_path / "mine.toml"
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(ScenarioError, match=message) as error:
        load(path)
    assert "mine.toml" in str(error.value)


def test_an_unknown_scenario_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'x-2025'; there are att-2024-02-22, .*x-2025-05-24"):
        load("x-2025")


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.toml"):
        load(tmp_path / "none.toml")
