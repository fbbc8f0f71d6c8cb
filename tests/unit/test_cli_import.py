"""`tocsin import`: tables to report logs; no broker is needed."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.events import TICK_KEY
from streams.reportlog import LogRecord, read

SAMPLE = Path(__file__).parents[1] / "data" / "pge_outages_sample.csv.gz"
TABLE = """when,country,who,what
2025-05-24T12:00:00Z,US,a,app
2025-05-24T12:00:05Z,DE,b,
2025-05-24T12:00:09Z,US,c,website
"""
COLUMNS = ["--constant", "service=x", "--time", "when", "--region", "country", "--reporter", "who", "--kind", "what"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def tocsin(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def table(text: str = TABLE, name: str = "t.csv") -> str:
    Path(name).write_text(text)
    return name


def values(log: str = "log.jsonl") -> list[dict[str, str]]:
    """Return the reports of a log."""
    records: list[LogRecord] = [record for record in read(Path(log)) if record.key != TICK_KEY]
    return [json.loads(record.value or b"") for record in records]


# --- csv ------------------------------------------------------------------------------------------------------------


def test_columns_and_constants_become_the_fields_of_reports() -> None:
    result = tocsin("import", "csv", table(), *COLUMNS, "-o", "log.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "read 3 rows: 3 taken as reports, 0 refused\n"
    assert values() == [
        {"service": "x", "region": "US", "reporter": "a", "kind": "app", "time": "2025-05-24T12:00:00.000Z"},
        {"service": "x", "region": "DE", "reporter": "b", "time": "2025-05-24T12:00:05.000Z"},
        {"service": "x", "region": "US", "reporter": "c", "kind": "website", "time": "2025-05-24T12:00:09.000Z"},
    ]


def test_a_table_comes_from_stdin_and_a_log_goes_to_stdout_as_it_would_to_a_file() -> None:
    tocsin("import", "csv", table(), *COLUMNS, "-o", "log.jsonl")
    piped = tocsin("import", "csv", "-", *COLUMNS, stdin="\ufeff" + TABLE.replace("\n", "\r\n"))
    assert piped.stdout_bytes == Path("log.jsonl").read_bytes()


def test_compressed_files_are_read_and_written() -> None:
    Path("t.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    assert tocsin("import", "csv", "t.csv.gz", *COLUMNS, "-o", "log.jsonl.gz").exit_code == 0
    assert len(values("log.jsonl.gz")) == 3


def test_a_mapping_file_says_the_same_and_translates_values() -> None:
    Path("map.toml").write_text(
        'version = 1\ndelimiter = ";"\n'
        '[constants]\nservice = "x"\n[columns]\ntime = "when"\nregion = "land"\n'
        '[time]\nformat = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Berlin"\n'
        '[values.region]\n"Vereinigte Staaten" = "US"\n'
    )
    file = table("when;land\n24.05.2025 14:00;Vereinigte Staaten\n24.05.2025 14:01;DE\n")
    assert tocsin("import", "csv", file, "--map", "map.toml", "-o", "log.jsonl").exit_code == 0
    assert [(each["region"], each["time"]) for each in values()] == [
        ("US", "2025-05-24T12:00:00.000Z"),
        ("DE", "2025-05-24T12:01:00.000Z"),
    ]


def test_the_command_line_beats_the_mapping_file() -> None:
    Path("map.toml").write_text('[constants]\nservice = "x"\nregion = "DE"\n[columns]\ntime = "when"\nkind = "what"\n')
    options = ["--map", "map.toml", "--region", "country", "--constant", "kind=other"]
    assert tocsin("import", "csv", table(), *options, "-o", "log.jsonl").exit_code == 0
    assert [(each["region"], each["kind"]) for each in values()] == [("US", "other"), ("DE", "other"), ("US", "other")]


def test_slugs_make_names_of_what_things_are_called() -> None:
    file = table("product,town,when\nMy Bank (App),San José,1748088000\n")
    options = ["--service", "product", "--region", "town", "--time", "when", "--time-format", "unix-s", "--slugs"]
    assert tocsin("import", "csv", file, *options, "-o", "log.jsonl").exit_code == 0
    assert [(each["service"], each["region"]) for each in values()] == [("my-bank-app", "san-jose")]


BAD_ROWS = """when,country,who,what
2025-05-24T12:00:00Z,US,a,app
yesterday,US,a,app
2025-05-24T12:00:01Z,United States,a,app
2025-05-24T12:00:02Z,US,a

2025-05-24T12:00:03Z,"U
S",a,app
2025-05-24T12:00:04Z,US,REPORTER,app
2025-05-24T12:00:05Z,US,d,app
""".replace("REPORTER", "r" * 2000)


def test_rows_that_are_no_reports_are_said_with_line_and_reason_and_make_the_exit_code_1() -> None:
    result = tocsin("import", "csv", table(BAD_ROWS), *COLUMNS, "-o", "log.jsonl")
    region = "does not match [A-Za-z0-9-][A-Za-z0-9_-]{0,31}"
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "t.csv:3: column 'when': time: 'yesterday' is not a date and time of ISO 8601",
        f"t.csv:4: column 'country': region: 'United States' {region}",
        "t.csv:5: has 3 fields, the first row has 4",
        f"t.csv:7: column 'country': region: 'U\\nS' {region}",
        "t.csv:9: column 'who': reporter: 2000 bytes are more than 256",
        "read 7 rows: 2 taken as reports, 5 refused",
    ]
    assert len(values()) == 2


def test_rejected_rows_can_be_mended_in_a_file_of_their_own_and_imported_again() -> None:
    result = tocsin("import", "csv", table(BAD_ROWS), *COLUMNS, "-o", "log.jsonl", "--rejects", "rejects.csv")
    assert (result.exit_code, result.stderr) == (1, "read 7 rows: 2 taken as reports, 5 refused\n")
    with Path("rejects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tocsin_line"] for row in rows] == ["3", "4", "5", "7", "9"]
    mended = Path("rejects.csv").read_text().replace("United States", "US")
    again = tocsin("import", "csv", table(mended, "mended.csv"), *COLUMNS, "-o", "log.jsonl")
    assert "1 taken as reports" in again.stderr


def test_strict_stops_at_the_first_such_row_and_leaves_the_file_as_it_was() -> None:
    Path("log.jsonl").write_text("of before\n")
    result = tocsin("import", "csv", table(BAD_ROWS), *COLUMNS, "-o", "log.jsonl", "--strict")
    assert result.exit_code == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["t.csv:3", "stopped there (--strict)"]
    assert sorted(os.listdir()) == ["log.jsonl", "t.csv"]
    assert Path("log.jsonl").read_text() == "of before\n"


def test_bytes_that_are_no_text_are_the_fault_of_their_row_alone() -> None:
    Path("t.csv").write_bytes(TABLE.replace("DE", "M\xfc").encode("latin-1"))
    result = tocsin("import", "csv", "t.csv", *COLUMNS, "-o", "log.jsonl")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (1, "t.csv:3: not UTF-8")
    assert len(values()) == 2


def test_a_table_that_is_not_in_order_of_time_is_sorted_if_told_to() -> None:
    lines = TABLE.splitlines(keepends=True)
    file = table("".join([lines[0], lines[3].replace("12:00:09", "12:09:00"), *lines[1:3]]))
    refused = tocsin("import", "csv", file, *COLUMNS, "-o", "log.jsonl")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("t.csv:3: 2025-05-24T12:00:00.000Z comes after 2025-05-24T12:09:00.000Z")
    assert not Path("log.jsonl").exists()
    assert tocsin("import", "csv", file, *COLUMNS, "-o", "log.jsonl", "--sort").exit_code == 0
    assert [each["reporter"] for each in values()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--constant", "service=x", "--time", "when"], "region: name the column that it is in (--region), or a"),
        (["--constant", "service=x", "--constant", "region=US"], "time: name the column that it is in (--time)"),
        ([*COLUMNS, "--constant", "service=X"], "service: a constant that no report may carry: 'X' does not match"),
        ([*COLUMNS, "--constant", "time=2025-05-24"], "time: both a column and a constant; take one"),
        ([*COLUMNS, "--constant", "town=US"], "'town=US' is not of the form FIELD=VALUE; fields are service, region"),
        ([*COLUMNS, "--time", "date"], "t.csv:1: there is no column 'date'; there are 'when', 'country', 'who'"),
        ([*COLUMNS, "--time-format", "%H"], "time: '%H' is neither iso, unix-s, unix-ms nor a pattern"),
        ([*COLUMNS, "--timezone", "Bonn"], "time: 'Bonn' is no time zone of the IANA database"),
        ([*COLUMNS, "--delimiter", "ab"], "not a mapping: Expected `str` of length <= 1 - at `$.delimiter`"),
        ([*COLUMNS, "--map", "map.toml"], "map.toml: not a mapping: Object contains unknown field `colums`"),
        ([*COLUMNS, "-o", "missing/log.jsonl"], "missing/log.jsonl.part: No such file or directory"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_a_message_and_exit_code_2(options: list[str], message: str) -> None:
    Path("map.toml").write_text("[colums]\n")
    result = tocsin("import", "csv", table(), *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1: no row with the names of the columns"),
        ("when,country,when\n", "t.csv:1: several columns are called 'when'"),
    ],
)
def test_a_table_without_names_for_its_columns_is_refused(text: str, message: str) -> None:
    result = tocsin("import", "csv", table(text), *COLUMNS)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message + "\n")


def test_a_compressed_table_that_was_cut_short_is_an_error_that_names_it() -> None:
    Path("t.csv.gz").write_bytes(gzip.compress(TABLE.encode() * 50)[:-12])
    result = tocsin("import", "csv", "t.csv.gz", *COLUMNS, "-o", "log.jsonl", "--sort")
    assert result.exit_code == 2
    assert "t.csv.gz: not a complete gzip file" in result.stderr


# --- pge ------------------------------------------------------------------------------------------------------------

SETTINGS = """
version = 1
[count]
bin_s = 1200
window_bins = 3
epoch_s = 3600
[detect]
detector = "ratio"
unknown_after_minutes = 180
[[policy]]
service = "pge"
raise_above = 30
clear_below = 15
"""


def test_each_outage_is_a_report_of_its_town_when_it_was_first_seen() -> None:
    result = tocsin("import", "pge", str(SAMPLE), "-o", "log.jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "read 965 rows: 965 taken as reports, 0 refused",
        "taken for one region, mi-wuk-village: MI Wuk Village, Mi-Wuk Village",
    ]
    found = values()
    assert found[0] == {
        "service": "pge",
        "region": "grass-valley",
        "kind": "scheduled-maintenance",
        "reporter": "643960",
        "start": "2019-10-05T15:01:00.000Z",
        "time": "2019-10-05T15:10:28.000Z",
    }
    assert len({each["reporter"] for each in found}) == 965
    assert Counter(each["kind"] for each in found)["public-safety-power-shutoff"] == 397
    [long] = {each["region"] for each in found if each["region"].startswith("fetters-hot-springs-agu-")}
    assert len(long) == 32


def test_the_replay_of_the_sample_finds_the_shutoffs() -> None:
    Path("tocsin.toml").write_text(SETTINGS)
    tocsin("import", "pge", str(SAMPLE), "-o", "log.jsonl")
    replayed = tocsin("replay", "log.jsonl")
    opened = [line.split(" pge in ") for line in replayed.stdout.splitlines() if " OPENED " in line]
    assert [(when[:16], where.split(":")[0]) for when, where in opened] == [
        ("2019-10-09T09:00", "all regions together"),
        ("2019-10-09T11:20", "grass-valley"),
        ("2019-10-23T23:00", "all regions together"),
        ("2019-10-24T00:00", "grass-valley"),
        ("2019-10-27T01:20", "all regions together"),
        ("2019-10-27T01:20", "auburn"),
        ("2019-10-29T18:20", "all regions together"),
        ("2019-10-29T18:20", "auburn"),
    ]


def test_all_towns_can_be_one_region() -> None:
    assert tocsin("import", "pge", str(SAMPLE), "--region", "california", "-o", "log.jsonl").exit_code == 0
    assert {each["region"] for each in values()} == {"california"}
    refused = tocsin("import", "pge", str(SAMPLE), "--region", "_all")
    assert refused.exit_code == 2
    assert "'_all' does not match" in refused.stderr


def test_a_row_without_a_town_or_a_time_is_refused() -> None:
    file = table("id,region,start,first_seen,cause\n1,,0,0,x\n2,Napa,soon,0,x\n3,Napa,0,,x\n4,Napa,0,60,x\n")
    result = tocsin("import", "pge", file, "-o", "log.jsonl")
    assert result.stderr.splitlines() == [
        "t.csv:2: column 'region': has neither a letter nor a digit to make a name of",
        "t.csv:3: column 'start': 'soon' is no number of seconds",
        "t.csv:4: column 'first_seen': '' is no number of seconds",
        "read 4 rows: 1 taken as reports, 3 refused",
    ]
    assert result.exit_code == 1
