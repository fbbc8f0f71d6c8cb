"""A table of counts is read as what it says, in whatever order its rows come; any other bytes end in a clear error."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streams.backtest.labels import read_labels
from streams.backtest.series import BacktestError, read_series
from streams.settings import Settings

rows = st.tuples(
    st.integers(0, 3000), st.sampled_from(["x", "y"]), st.sampled_from(["US", "DE", "-a_1"]), st.integers(0, 10**6)
)
text = st.text(st.sampled_from('timestamp,value\n\r"\x00 -:0123456789TZé.') | st.characters(codec="utf-8"), max_size=80)


@given(st.lists(rows, min_size=1, max_size=40))
def test_every_row_adds_to_its_bin_and_key(table: list[tuple[int, str, str, int]]) -> None:
    # most rows are a second apart, so that bins stay those of the settings
    table = [*table, *((second, "x", "US", 1) for second in range(50))]
    lines = ["timestamp,service,region,value", *(f"{at},{x},{y},{value}" for at, x, y, value in table)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts.csv"
        file.write_text("\n".join(lines))
        found = read_series(file, Settings())
    expected: Counter[tuple[int, str, str]] = Counter()
    for at_s, service, region, value in table:
        expected[at_s * 1000 // found.bin_ms * found.bin_ms, service, region] += value
    assert {(at, *key): count for at, own in found.bins.items() for key, count in own.items()} == expected
    assert list(found.bins) == sorted(found.bins)


@given(st.binary(max_size=60) | text.map(str.encode))
def test_bytes_that_are_no_table_or_no_labels_end_in_an_error_that_names_the_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in (Path(folder) / "data.csv", Path(folder) / "labels.json"):
            file.write_bytes(content)
            message = _refusal(file)
            assert message is None or message.startswith(str(file))


def _refusal(file: Path) -> str | None:
    try:
        if file.suffix == ".csv":
            read_series(file, Settings())
        else:
            read_labels(file, ["x"])
    except BacktestError as error:
        return str(error)
    return None
