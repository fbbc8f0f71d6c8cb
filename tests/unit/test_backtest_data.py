"""What a backtest reads: tables of counts, report logs, and labels; and what is wrong with them, by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from streams.backtest.labels import Label, read_labels
from streams.backtest.series import BacktestError, Series, read_series
from streams.settings import Count, Settings

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
#: 2 March 2015, 00:00 UTC.
BEGIN_MS = 1_425_254_400_000


def series(folder: Path, text: str, name: str = "Login_errors.csv", settings: Settings | None = None) -> Series:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_series(file, settings or Settings())


def labels(folder: Path, content: object, stems: list[str] | None = None) -> list[Label]:
    file = folder / "labels.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return read_labels(file, stems or [])


def test_a_table_of_one_series_is_a_service_named_after_the_file(tmp_path: Path) -> None:
    for name in ("Login_errors.csv", "Login_errors.csv.gz"):
        found = series(tmp_path, "timestamp,value\n2015-03-02 00:00:53,3\n2015-03-02 00:01:53,0\n", name)
        assert found.bins == {
            BEGIN_MS: {("login-errors", "all"): 3},
            BEGIN_MS + MINUTE_MS: {("login-errors", "all"): 0},
        }
        assert (found.stem, found.bin_ms) == ("login-errors", MINUTE_MS)


def test_columns_may_come_in_any_order_and_name_service_and_region(tmp_path: Path) -> None:
    found = series(
        tmp_path,
        "region,value,timestamp,service\nUS,3,2015-03-02T00:00Z,x\nDE,1,2015-03-02T01:00+01:00,x\nUS,4,1425254401,x\n",
    )
    assert found.bins == {BEGIN_MS: {("x", "DE"): 1, ("x", "US"): 7}}


def test_rows_further_apart_than_a_bin_make_longer_bins_and_windows_of_the_same_length(tmp_path: Path) -> None:
    rows = "".join(f"2015-03-02 0{hour}:{minute:02}:53,1\n" for hour in range(3) for minute in range(2, 60, 5))
    found = series(tmp_path, "timestamp,value\n" + rows)
    count = found.settings.count
    assert (count.bin_s, count.window_bins, count.epoch_s, len(found.bins)) == (300, 3, 900, 36)


def test_rows_closer_than_a_bin_add_up(tmp_path: Path) -> None:
    settings = Settings(count=Count(bin_s=3600, epoch_s=3600))
    rows = "".join(f"2015-03-02 0{hour}:{minute:02}:53,2\n" for hour in range(3) for minute in range(2, 60, 5))
    found = series(tmp_path, "timestamp,value\n" + rows, settings=settings)
    assert {at: sum(own.values()) for at, own in found.bins.items()} == {BEGIN_MS + i * HOUR_MS: 24 for i in range(3)}


def test_a_bin_without_a_row_is_not_there(tmp_path: Path) -> None:
    rows = [f"2015-03-02 00:{minute:02},1\n" for minute in range(30) if minute != 7]
    found = series(tmp_path, "timestamp,value\n" + "".join(rows))
    assert BEGIN_MS + 7 * MINUTE_MS not in found.bins
    assert len(found.bins) == 29


def test_a_report_log_is_counted_as_the_workers_count(tmp_path: Path) -> None:
    reports = [
        {"service": "x", "region": "US", "reporter": f"r{second % 7}", "time": f"2015-03-02T00:00:{second:02}Z"}
        for second in range(30)
    ]
    later = [{"service": "x", "region": "DE", "time": f"2015-03-02T00:{minute}:00Z"} for minute in (20, 25)]
    text = "".join(json.dumps(each) + "\n" for each in [*reports, *later])
    found = series(tmp_path, text, "reports.jsonl")
    # seven reporters, each counted once in an epoch
    assert found.bins[BEGIN_MS] == {("x", "US"): 7}
    assert found.bins[BEGIN_MS + 20 * MINUTE_MS] == {("x", "DE"): 1}
    assert found.bins[BEGIN_MS + 10 * MINUTE_MS] == {}
    # nobody knows whether the bin of the last report is complete
    assert max(found.bins) == BEGIN_MS + 24 * MINUTE_MS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: no row with the names of the columns"),
        ("timestamp,value\n", ": has no rows but the names of the columns"),
        ("time,value\n1,2\n", ":1: there is no column 'timestamp'; there are 'time', 'value'"),
        (
            "timestamp,value,city\n1,2,3\n",
            ":1: unknown column 'city'; there may be 'timestamp', 'value', 'service', 'region'",
        ),
        ("timestamp,value\n1,2\n\n3\n", ":4: has 1 fields, the first row has 2"),
        ("timestamp,value\n1,2\n3,-1\n", ":3: column 'value': '-1' is no whole number from 0 to 2**53"),
        ("timestamp,value\n1,2.5\n", ":2: column 'value': '2.5' is no whole number from 0 to 2**53"),
        ("timestamp,value\n1,nan\n", ":2: column 'value': 'nan' is no whole number from 0 to 2**53"),
        ("timestamp,value\n1,inf\n", ":2: column 'value': 'inf' is no whole number from 0 to 2**53"),
        ("timestamp,value\nyesterday,2\n", ":2: column 'timestamp': 'yesterday' is not a date and time of ISO 8601"),
        ("timestamp,service,value\n1,X Y,2\n", ":2: "),
        (
            "timestamp,value\n0,1\n420,1\n840,1\n",
            ": rows are 420 s apart (median), which is no length of a bin: set count.bin_s to a longer one",
        ),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BacktestError) as caught:
        series(tmp_path, text, "wrong.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'wrong.csv'}{message}")


def test_a_table_that_is_cut_short_says_where(tmp_path: Path) -> None:
    file = tmp_path / "cut.csv.gz"
    rows = "".join(f"{second},1\n" for second in range(100_000))
    file.write_bytes(gzip.compress(f"timestamp,value\n{rows}".encode())[:-500])
    with pytest.raises(BacktestError, match=r"cut\.csv\.gz: not a complete gzip file, readable up to line \d+"):
        read_series(file, Settings())


def test_a_log_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match="no record is a report"):
        series(tmp_path, '{"timestamp_ms":1425254400000,"partition":0,"key":null,"value":{"no":1}}\n' * 3, "log.jsonl")


def test_labels_name_a_service_and_where_it_matters_a_region(tmp_path: Path) -> None:
    own = {"service": "x", "begin": "2015-03-02T00:00Z", "end": "2015-03-02 01:00"}
    found = labels(tmp_path, {"version": 1, "labels": [own, {**own, "region": "US", "name": "login"}]})
    whole = Label("x", None, BEGIN_MS, BEGIN_MS + HOUR_MS)
    assert found == [whole, Label("x", "US", BEGIN_MS, BEGIN_MS + HOUR_MS, "login")]
    assert [whole.covers(key) for key in (("x", "US"), ("x", "_all"), ("y", "US"))] == [True, True, False]
    assert [found[1].covers(key) for key in (("x", "US"), ("x", "DE"))] == [True, False]


@pytest.mark.parametrize("name", ["realTweets/Twitter_volume_AAPL.csv", "Twitter_volume_AAPL.csv", "AAPL"])
def test_labels_of_the_numenta_benchmark_name_files(tmp_path: Path, name: str) -> None:
    window = ["2015-03-02 00:00:00.000000", "2015-03-02 01:00:00.000000"]
    found = labels(tmp_path, {name: [window], "other.csv": [window]}, ["twitter-volume-aapl", "twitter-volume-fb"])
    assert found == [Label("twitter-volume-aapl", "all", BEGIN_MS, BEGIN_MS + HOUR_MS)]


LABEL = '{"service": "x", "begin": "2015-03-02", "end": "2015-03-03"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":1: not a file of labels: Input data was truncated"),
        ('{"labels": [\n1,\n]}', ":3: not a file of labels: JSON is malformed"),
        ('{"version": 2, "labels": []}', ": labels of version 2; this version of Tocsin reads 1"),
        (f'{{"labels": [\n{LABEL},\n{{"service": "x"}}]}}', ":3: Object missing required field `begin`"),
        (f'{{"labels": [\n{LABEL},\n{LABEL},\n5]}}', ":4: Expected `object`, got `int`"),
        (
            '{"labels": [\n\n{"service": "x", "begin": "soon", "end": "2015-03-03"}]}',
            ":3: 'soon' is not a date and time of ISO 8601",
        ),
        (
            f'{{"labels": [{LABEL},\n{{"service": "x", "begin": "2015-03-03", "end": "2015-03-02"}}]}}',
            ":2: ends at 2015-03-02, not after its begin, 2015-03-03",
        ),
        ('{"a.csv": [\n["2015-03-02"]]}', ":2: a window is a pair of times"),
        ('{"b.csv": [],\n"a.csv": [["2015-03-03",\n"2015-03-02"]]}', ":2: ends at 2015-03-02"),
    ],
)
def test_labels_that_are_wrong_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BacktestError) as caught:
        labels(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'labels.json'}{message}")


def test_a_name_that_may_be_several_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BacktestError, match=r"'aapl' may be any of news-aapl, tweets-aapl"):
        labels(tmp_path, {"aapl": [["2015-03-02", "2015-03-03"]]}, ["tweets-aapl", "news-aapl"])
