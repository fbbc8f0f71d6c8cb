"""The reference is what the code says, and leaves nothing out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from docs import generate
from docs.pages import settings
from streams.cli import app
from streams.metrics import catalogue
from streams.settings import Settings
from streams.settings_sources import known_keys
from streams.topics import layout
from tests.support.documents import ROOT

REFERENCE = ROOT / "docs" / "reference"


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ `(.+)`$", (REFERENCE / page).read_text(), flags=re.MULTILINE)


def test_what_is_committed_is_what_the_code_says() -> None:
    assert generate.stale(generate.documents()) == []


class TestGenerating:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A repository without any generated file."""
        shutil.copy(ROOT / "tocsin.example.toml", tmp_path)
        monkeypatch.setattr(generate, "ROOT", tmp_path)
        return tmp_path

    def test_what_is_missing_altered_or_left_over_is_named_and_nothing_is_written(
        self, elsewhere: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        generate.main([])
        (elsewhere / "docs/reference/cli.md").unlink()
        (elsewhere / "docs/reference/topics.md").write_text("altered")
        (elsewhere / "schemas/old.json").write_text("{}")
        capsys.readouterr()
        assert generate.main(["--check"]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "docs/reference/cli.md",
            "docs/reference/topics.md",
            "schemas/old.json",
        ]
        assert (elsewhere / "docs/reference/topics.md").read_text() == "altered"

    def test_everything_is_current_once_it_is_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert generate.main([]) == 0
        capsys.readouterr()
        assert generate.main(["--check"]) == 0
        assert capsys.readouterr().out == ""


class TestNothingIsLeftOut:
    def test_settings(self) -> None:
        keys = [heading for heading in headings("settings.md") if not heading.startswith("[")]
        assert sorted(keys) == sorted(known_keys(Settings))

    def test_metrics(self) -> None:
        rows = re.findall(
            r"^\| `([a-z0-9_]+)` \| (?:.*\| ){3}\S.* \|$", (REFERENCE / "metrics.md").read_text(), re.MULTILINE
        )
        assert sorted(rows) == sorted(family.name for family in catalogue())

    def test_topics(self) -> None:
        assert headings("topics.md") == [topic.name for topic in layout(Settings())]

    def test_commands_and_their_options(self) -> None:
        page = (REFERENCE / "cli.md").read_text()
        sections = dict(section.split("`\n", 1) for section in page.split("\n## `")[1:])
        found = dict(options(typer.main.get_command(app), "tocsin"))
        assert sections.keys() == found.keys()
        missing = {(name, option) for name, own in found.items() for option in own if option not in sections[name]}
        assert missing == set()

    def test_alerts(self) -> None:
        groups = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text())["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        table = re.findall(
            r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \| \S", (ROOT / "docs/runbooks/README.md").read_text(), re.M
        )
        assert sorted(table) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in rules)


def options(command: Any, path: str) -> list[tuple[str, list[str]]]:
    """Return the visible options of a command and of those below it."""
    own = [option for each in command.params if not each.hidden for option in each.opts if option.startswith("--")]
    inner = getattr(command, "commands", {})
    return [(path, own), *(found for name, each in inner.items() for found in options(each, f"{path} {name}"))]


class TestSettings:
    @pytest.mark.parametrize(
        ("path", "change"),
        [
            ("count.flush_s", "restart"),
            ("worker.http_port", "restart"),
            ("detect.ratio.above", "apply"),
            ("policy[].raise_above", "apply"),
            ("regions.*.timezone", "apply"),
            ("kafka.clock", "topics"),
            ("kafka.replication_factor", "topics"),
            ("kafka.reports_partitions", "drain"),
            ("count.bin_s", "drain"),
        ],
    )
    def test_what_a_change_takes_is_found_by_changing_it(self, path: str, change: str) -> None:
        assert {key.path: key.change for key in settings.every_key()}[path] == change

    def test_a_key_without_a_comment_shares_the_one_before_it(self) -> None:
        explained = settings.explanations("# Both.\n[a]\nx = 1\n# Only y,\n# in two lines.\ny = 2\nz = 3\n")
        assert {path: each.text for path, each in explained.items()} == {
            "a": "Both.",
            "a.x": "Both.",
            "a.y": "Only y, in two lines.",
            "a.z": "Only y, in two lines.",
        }
