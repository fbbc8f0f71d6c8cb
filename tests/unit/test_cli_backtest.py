"""`tocsin backtest`: its table, its JSON, its page, and what it says of wrong input."""

from __future__ import annotations

import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app

MINUTE_S = 60
#: 2 March 2015, 00:00 UTC.
BEGIN_S = 1_425_254_400
#: Ten minutes each, at six hundred reports a minute instead of about ten.
OUTAGES = (200, 400)
LIMIT = "limit:above=100"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = ["timestamp,region,service,value"]
    for minute in range(600):
        is_outage = any(begin <= minute < begin + 10 for begin in OUTAGES)
        rows.append(f"{BEGIN_S + minute * MINUTE_S},US,x,{600 if is_outage else 10 + minute % 3}")
        rows.append(f"{BEGIN_S + minute * MINUTE_S},DE,x,{1 + minute % 5}")
    file = tmp_path / "data.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The first of the outages, and a quarter of an hour in which nothing happened."""
    file = tmp_path / "labels.json"
    spans = [(200, 210), (300, 315)]
    own = [{"service": "x", "region": "US", "begin": _at(begin), "end": _at(end)} for begin, end in spans]
    file.write_text(json.dumps({"version": 1, "labels": [{**own[0], "name": "login <down>"}, own[1]]}))
    return file


def _at(minute: int) -> str:
    return f"2015-03-02T{minute // 60:02}:{minute % 60:02}:00Z"


def backtest(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["backtest", *map(str, arguments)], env={"COLUMNS": "200"})


def figures(*arguments: str | Path) -> list[Any]:
    result = backtest(*arguments, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["version"] == 1
    return list(told["detectors"])


def regional(false: list[Any]) -> list[Any]:
    """Return the false incidents but for those of the whole service."""
    return [each for each in false if each["region"] != "_all"]


def test_the_figures_are_those_of_what_was_labelled(data: Path, labels: Path) -> None:
    (told,) = figures(data, "--labels", labels, "--detector", LIMIT)
    assert told["detector"] == LIMIT
    assert (told["labels"], told["detected"]) == (2, 1)
    # the third bin above the limit raises
    assert told["delay_min"] == {"median": 3, "p90": None}
    assert told["incidents_per_outage"] == 1
    assert [each["opened_ms"] for each in regional(told["false"])] == [1000 * (BEGIN_S + 402 * MINUTE_S)]
    false = told["false_per_key_30_days"]
    # two regions of ten hours, less 25 minutes of labels in one
    assert (false["incidents"], false["keys"]) == (1, 2)
    assert false["days"] == pytest.approx((1200 - 25) / 1440)
    assert false["rate"] == pytest.approx(30 / false["days"])


def test_several_detectors_stand_side_by_side(data: Path, labels: Path) -> None:
    loose, strict = figures(data, "--labels", labels, "--detector", LIMIT, "--detector", "limit:above=700")
    assert (loose["detected"], strict["detected"]) == (1, 0)
    result = backtest(data, "--labels", labels, "--detector", LIMIT, "--detector", "limit:above=700")
    assert result.exit_code == 0, result.output
    rows = {
        re.split(r"  +", line.strip())[0]: re.split(r"  +", line.strip())[1:] for line in result.stdout.splitlines()
    }
    assert rows["detector"] == [LIMIT, "limit:above=700"]
    assert rows["detected"] == ["1 of 2", "0 of 2"]
    assert rows["delay median, min"] == ["3", "∞"]
    assert rows["incidents per outage"] == ["1", "-"]


def test_the_detector_and_its_parameters_come_from_the_settings(data: Path, labels: Path) -> None:
    settings = ["--set", "detect.detector=limit", "--set", "detect.limit.above=100"]
    result = CliRunner().invoke(app, [*settings, "backtest", str(data), "--labels", str(labels), "--json"])
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)["detectors"]
    assert (told["detector"], told["detected"]) == ("limit", 1)


def test_policies_hold_as_they_do_in_a_deployment(data: Path, labels: Path, tmp_path: Path) -> None:
    settings = tmp_path / "tocsin.toml"
    settings.write_text('version = 1\n[[policy]]\nservice = "x"\nregion = "US"\nraise_above = 100000\n')
    (told,) = figures(data, "--labels", labels, "--detector", LIMIT)
    assert (told["detected"], told["false"]) == (0, [])


def test_a_report_log_leads_to_the_same_figures_as_a_table_of_its_counts(
    data: Path, labels: Path, tmp_path: Path
) -> None:
    log = tmp_path / "reports.jsonl"
    with log.open("w") as file:
        for minute in range(600):
            for line in data.read_text().splitlines()[1 + 2 * minute : 3 + 2 * minute]:
                at_s, region, service, count = line.split(",")
                for number in range(int(count)):
                    time = f"{_at(minute)[:-3]}{60 * number // int(count):02}Z"
                    report = {"service": service, "region": region, "time": time}
                    file.write(json.dumps(report) + "\n")
                assert int(at_s) == BEGIN_S + minute * MINUTE_S
    of_table, of_log = (figures(each, "--labels", labels, "--detector", LIMIT)[0] for each in (data, log))
    assert of_log["outcomes"] == of_table["outcomes"]
    assert of_log["false"] == of_table["false"]


class Outline(HTMLParser):
    """What stands in a page: which elements, and which of them ask for another file."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_page_needs_no_other_file_and_shows_every_key_and_label(data: Path, labels: Path, tmp_path: Path) -> None:
    file = tmp_path / "backtest.html"
    result = backtest(data, "--labels", labels, "--detector", LIMIT, "--html", file)
    assert result.exit_code == 0, result.output
    text = file.read_text()
    outline = Outline()
    outline.feed(text)
    assert outline.asked == []
    assert not {"script", "link", "img"} & set(outline.elements)
    # two keys (and whole services, where they are judged), two labels
    assert outline.elements.count("svg") >= 4
    assert "login <down>" not in text
    assert html.escape("login <down>") in text
    assert 'class="true"' in text
    assert 'class="false"' in text


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ("arima", "'arima' is none of"),
        ("limit:above=-1", "limit.above: Input should be greater than 0"),
        ("limit:below=1", "limit.below: Extra inputs are not permitted"),
        ("ratio:above=1", "ratio.above: Input should be greater than 1"),
    ],
)
def test_a_detector_that_does_not_exist_or_a_wrong_parameter_is_refused(
    data: Path, labels: Path, detector: str, message: str
) -> None:
    result = backtest(data, "--labels", labels, "--detector", detector)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_a_wrong_file_is_named_with_its_line(data: Path, labels: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("timestamp,value\n1,1\n2,many\n")
    result = backtest(data, wrong, "--labels", labels, "--detector", LIMIT)
    assert result.exit_code == 2
    assert f"{wrong}:3: column 'value': 'many' is no whole number from 0 to 2**53" in result.output


def test_labels_of_what_is_not_in_the_data_are_left_out_and_said(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "others.json"
    file.write_text('{"labels": [{"service": "y", "begin": "2015-03-02", "end": "2015-03-03"}]}')
    result = backtest(data, "--labels", file, "--detector", LIMIT, "--json")
    assert result.exit_code == 0
    assert f"{file}: no data of y: its label is left out" in result.stderr
    (told,) = json.loads(result.stdout)["detectors"]
    assert (told["labels"], told["detected"], len(regional(told["false"]))) == (0, 0, 2)
