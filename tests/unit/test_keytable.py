"""Given these names, these rows; and a key that goes takes nothing of the others with it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from detectors import Limit
from streams.events import SENSOR
from streams.incidents import Machine, Ongoing
from streams.keytable import UNREACHABLE, KeyTable
from streams.settings import Settings

BIN_MS = 60_000
SETTINGS = Settings.model_validate(
    {
        "count": {"window_bins": 3},
        "policy": [
            {"service": "x", "region": "US", "raise_above": 750, "clear_below": 650},
            {"service": "x", "region": "FR", "enabled": False},
        ],
        "regions": {
            "US": {"timezone": "America/New_York"},
            "NP": {"timezone": "Asia/Kathmandu"},
            "GB": {"timezone": "Europe/London"},
        },
    }
)
NAMES = [("x", "US"), ("x", "GB"), ("mail", "US"), ("x", "FR"), ("mail", "NP")]


def table(names: Iterable[tuple[str, str]] = NAMES) -> KeyTable:
    """Return a table in which no two keys have anything in common."""
    made = KeyTable(SETTINGS, Limit(BIN_MS, above=10))
    rows = made.add(names)
    numbers = np.array([NAMES.index(key) for key in made.rows], np.int64)
    made.windows[rows] = 10 * numbers[:, None] + np.arange(3)
    made.last_seen_ms[rows] = BIN_MS * numbers
    made.is_open[rows] = numbers % 2 == 1
    for key, number in zip(made.keys, numbers.tolist(), strict=True):
        key.machine = Machine(incident(number) if number % 2 else None)
    nothing = np.zeros(len(rows), np.bool_)
    made.detector.step(0, numbers.astype(np.float64), ~nothing, nothing, made.local_offsets_s(0))
    return made


def incident(number: int) -> Ongoing:
    return Ongoing(id=f"incident {number}", opened_ms=0, announced_peak=1, peak=1, peak_ms=0)


def content(made: KeyTable) -> dict[tuple[str, str], Any]:
    """Return all that is held, by name."""
    return {
        name: (
            made.keys[row],
            made.windows[row].tolist(),
            int(made.last_seen_ms[row]),
            bool(made.is_open[row]),
            int(made.raise_from[row]),
            made.detector.snapshot(np.array([row])),
        )
        for name, row in made.rows.items()
    }


def test_keys_are_added_at_the_end() -> None:
    made = KeyTable(SETTINGS, Limit(BIN_MS))
    assert made.add(NAMES[:2]).tolist() == [0, 1]
    assert made.add(NAMES[2:]).tolist() == [2, 3, 4]
    assert made.add([]).tolist() == []
    assert list(made.rows) == NAMES
    assert [(key.service, key.region) for key in made.keys] == NAMES
    assert len(made) == made.detector.keys == 5


def test_a_fresh_key_has_seen_nothing_and_has_no_incident() -> None:
    made = KeyTable(SETTINGS, Limit(BIN_MS))
    made.add([("x", "US")])
    assert made.windows.tolist() == [[0, 0, 0]]
    assert made.is_open.tolist() == [False]
    assert made.keys[0].machine == Machine()


def test_the_policy_says_from_which_window_on_a_key_may_raise() -> None:
    made = KeyTable(SETTINGS, Limit(BIN_MS))
    made.add([("x", "US"), ("x", "GB"), ("x", "FR"), (SENSOR, SENSOR)])
    assert made.raise_from.tolist() == [750, 1, UNREACHABLE, UNREACHABLE]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_goes_takes_nothing_of_the_others_with_it(name: tuple[str, str]) -> None:
    made = table()
    made.drop(*name)
    assert content(made) == content(table(other for other in NAMES if other != name))
    assert len(made) == made.detector.keys == len(made.windows) == len(made.is_open) == 4
    assert sorted(made.rows.values()) == [0, 1, 2, 3]


def test_keys_go_in_any_order_and_come_back_fresh() -> None:
    made = table()
    for name in [NAMES[1], NAMES[4], NAMES[0]]:
        made.drop(*name)
    assert content(made) == content(table([NAMES[2], NAMES[3]]))
    (row,) = made.add([("x", "US")]).tolist()
    fresh = KeyTable(SETTINGS, Limit(BIN_MS, above=10))
    fresh.add([("x", "US")])
    assert content(made)["x", "US"] == content(fresh)["x", "US"]
    assert row == 2


def test_the_open_incidents_of_a_service() -> None:
    made = table()
    assert made.ongoing("x") == [incident(1), incident(3)]
    assert made.ongoing("mail") == []


def test_civil_time_is_that_of_the_region_and_of_the_season() -> None:
    made = KeyTable(SETTINGS, Limit(BIN_MS))
    made.add([("x", "US"), ("x", "NP"), ("x", "GB"), ("x", "nowhere"), (SENSOR, SENSOR)])

    def hours(moment: str) -> list[float]:
        offsets_s = made.local_offsets_s(int(datetime.fromisoformat(moment).timestamp()) * 1000)
        return [offset_s / 3600 for offset_s in offsets_s.tolist()]

    assert hours("2025-01-24T12:00Z") == [-5, 5.75, 0, 0, 0]
    assert hours("2025-05-24T12:00Z") == [-4, 5.75, 1, 0, 0]
    made.drop("x", "US")
    assert sorted(hours("2025-05-24T12:00Z")) == [0, 0, 1, 5.75]
