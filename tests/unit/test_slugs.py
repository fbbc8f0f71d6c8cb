import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.decode import ReportError, read_report
from streams.importers.slugs import slug


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("San Jose", "san-jose"),
        ("San José", "san-jose"),
        ("El Paso de Robles (Paso Robles)", "el-paso-de-robles-paso-robles"),
        ("Bayview/Pine Hill", "bayview-pine-hill"),
        ("_all", "all"),
        ("Straße 12", "strasse-12"),
    ],
)
def test_a_name_is_words_of_ascii_with_hyphens(text: str, name: str) -> None:
    assert slug(text) == name


def test_names_that_differ_in_case_accents_and_punctuation_alone_become_one() -> None:
    assert slug("Mi-Wuk Village") == slug("MI Wuk Village") == "mi-wuk-village"


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = slug("Fetters Hot Springs-Agua Caliente"), slug("Fetters Hot Springs-Agua Fria and more")
    assert one.startswith("fetters-hot-springs-agu-")
    assert other.startswith("fetters-hot-springs-agu-")
    assert one != other
    assert len(one) == len(other) == 32


def test_letters_of_other_scripts_stay_apart() -> None:
    names = {slug(text) for text in ("東京", "大阪", "A 東京", "A 大阪", "A")}
    assert len(names) == 5


@pytest.mark.parametrize("text", ["", " ", "-", "()", "\u0301"])
def test_nothing_to_make_a_name_of_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="neither a letter nor a digit"):
        slug(text)


@given(st.text(), st.sampled_from([32, 64]))
def test_every_name_is_one_that_reports_may_carry_and_made_anew_stays_the_same(text: str, longest: int) -> None:
    try:
        name = slug(text, longest)
    except ValueError:
        return
    assert len(name) <= longest
    assert slug(name, longest) == name
    field = "region" if longest == 32 else "service"
    other = {"region": "service", "service": "region"}[field]
    try:
        read_report(f'{{"{field}": "{name}", "{other}": "x"}}'.encode())
    except ReportError as error:
        pytest.fail(str(error))
