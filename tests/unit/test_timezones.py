"""Which clock the people of a region live by."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from babel.core import get_global

from streams.settings import Region, Settings
from streams.timezones import default_timezone


@pytest.mark.parametrize(
    ("region", "timezone"),
    [
        ("GB", "Europe/London"),
        ("JP", "Asia/Tokyo"),
        ("US", "America/New_York"),
        ("BR", "America/Sao_Paulo"),
        ("US-CA", "America/New_York"),
        ("GB-SCT", "Europe/London"),
        ("_all", "UTC"),
        ("XX", "UTC"),
        ("gb", "UTC"),
        ("other", "UTC"),
        ("AQ", "UTC"),
        ("sonoma-county", "UTC"),
    ],
)
def test_a_country_has_the_zone_of_most_of_its_people_and_any_other_name_has_utc(region: str, timezone: str) -> None:
    assert default_timezone(region) == timezone


def test_india_is_five_and_a_half_hours_ahead() -> None:
    offset = datetime(2025, 5, 24, tzinfo=ZoneInfo(default_timezone("IN"))).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 19_800


def test_every_country_has_a_zone_of_its_own_that_is_known() -> None:
    zones: Mapping[str, list[str]] = get_global("territory_zones")
    nobody_lives_there = {"AQ", "UM"}
    for country, own in zones.items():
        if country.isdigit() or country in nobody_lives_there | {"ZZ"}:
            continue
        assert default_timezone(country) in own, country
        ZoneInfo(default_timezone(country))


def test_the_settings_may_name_another_one() -> None:
    assert Settings(regions={"US": Region(timezone="America/Los_Angeles")}).regions["US"].timezone
    assert Region().timezone is None
    with pytest.raises(ValueError, match="must be a time zone of the IANA database"):
        Region(timezone="America/Springfield")
