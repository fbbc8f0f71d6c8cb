"""How regions are called."""

from __future__ import annotations

import pytest

from streams.names import region_name
from streams.settings import Region, Settings


@pytest.mark.parametrize(
    ("code", "name"), [("US", "United States"), ("GB", "United Kingdom"), ("DE", "Germany"), ("JP", "Japan")]
)
def test_a_country_has_its_english_name(code: str, name: str) -> None:
    assert region_name(code, Settings()) == name


def test_a_whole_service_is_where_all_its_regions_are() -> None:
    assert region_name("_all", Settings()) == "all regions together"
    assert region_name("_all", Settings(regions={"_all": Region(name="the world")})) == "the world"


def test_a_name_of_the_settings_comes_first() -> None:
    settings = Settings(regions={"US": Region(name="the States")})
    assert region_name("US", settings) == "the States"


def test_a_region_of_the_settings_without_a_name_keeps_its_usual_one() -> None:
    settings = Settings(regions={"US": Region(timezone="America/New_York")})
    assert region_name("US", settings) == "United States"


@pytest.mark.parametrize("code", ["US-TX", "us", "backbone_7", "*"])
def test_a_code_that_nobody_has_named_stands_for_itself(code: str) -> None:
    assert region_name(code, Settings()) == code
