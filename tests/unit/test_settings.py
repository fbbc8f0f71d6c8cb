"""Where settings come from, which source wins, and what is said of a wrong one."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streams.settings import Count, Policy, Region, Settings, SettingsError, load
from streams.settings_sources import known_keys

EXAMPLE = Path(__file__).parents[2] / "tocsin.example.toml"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def problems(path: Path | None = None, /, **overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, **overrides)
    return str(caught.value).splitlines()


class TestWhereSettingsComeFrom:
    def test_without_any_source_the_defaults_hold(self) -> None:
        assert load() == Settings()

    def test_the_file_tocsin_toml_here_is_read(self) -> None:
        Path("tocsin.toml").write_text("[count]\nmax_names = 7\n")
        assert load().count.max_names == 7

    def test_the_file_that_TOCSIN_SETTINGS_names_is_read_instead(  # noqa: N802 - the name of the variable
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("tocsin.toml").write_text("[count]\nmax_names = 7\n")
        Path("other.toml").write_text("[count]\nmax_names = 8\n")
        monkeypatch.setenv("TOCSIN_SETTINGS", "other.toml")
        assert load().count.max_names == 8

    def test_a_given_path_beats_them_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("other.toml").write_text("[count]\nmax_names = 8\n")
        Path("given.toml").write_text("[count]\nmax_names = 9\n")
        monkeypatch.setenv("TOCSIN_SETTINGS", "other.toml")
        assert load(Path("given.toml")).count.max_names == 9

    def test_command_line_over_environment_over_file_over_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text("[count]\nmax_names = 1\nflush_s = 1.5\nwindow_bins = 5\n")
        monkeypatch.setenv("TOCSIN_COUNT__MAX_NAMES", "2")
        monkeypatch.setenv("TOCSIN_COUNT__FLUSH_S", "2.5")
        count = load(**{"count.max_names": "3"}).count
        assert count == Count(max_names=3, flush_s=2.5, window_bins=5)

    def test_a_deep_table_is_merged_key_by_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text("[detect.ratio]\nabove = 3.0\n")
        monkeypatch.setenv("TOCSIN_DETECT__RATIO__MIN_EXCESS", "9")
        detect = load(**{"detect.detector": "limit"}).detect
        assert (detect.ratio.above, detect.ratio.min_excess, detect.detector) == (3.0, 9.0, "limit")

    def test_kafkas_own_variable_beats_the_file_and_yields_to_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text('[kafka]\nbootstrap_servers = "file:9092"\n')
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
        assert load().kafka.bootstrap_servers == "kafka:9092"
        monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", "ours:9092")
        assert load().kafka.bootstrap_servers == "ours:9092"

    def test_kafkas_own_variable_counts_as_unset_when_it_is_empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
        assert load() == Settings()

    def test_an_address_in_brackets_is_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "[::1]:9092")
        assert load().kafka.bootstrap_servers == "[::1]:9092"

    def test_policies_are_tables_of_the_file(self) -> None:
        Path("tocsin.toml").write_text('[[policy]]\nclear_below = 650\n[[policy]]\nservice = "x"\nraise_above = 900\n')
        assert load().policy == [Policy(clear_below=650), Policy(service="x", raise_above=900)]

    def test_policies_of_the_environment_are_json_and_replace_those_of_the_file(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("tocsin.toml").write_text("[[policy]]\nclear_below = 650\n")
        monkeypatch.setenv("TOCSIN_POLICY", '[{"service": "y"}]')
        assert load().policy == [Policy(service="y")]

    def test_a_region_keeps_its_case_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text('[regions.US]\ntimezone = "America/New_York"\n')
        monkeypatch.setenv("TOCSIN_REGIONS__US__NAME", "the States")
        assert load().regions == {"US": Region(name="the States", timezone="America/New_York")}

    def test_variables_that_are_no_settings_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOCSIN_KAFKA_JARS", "/opt/kafka")
        assert load() == Settings()

    def test_settings_made_in_code_read_neither_file_nor_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text("[count]\nmax_names = 7\n")
        monkeypatch.setenv("TOCSIN_COUNT__WINDOW_BINS", "3")
        assert Settings().count == Count()


class TestWrongSettings:
    """Each problem is one line: key, value, source, and what would be valid."""

    def test_of_the_file(self) -> None:
        Path("tocsin.toml").write_text('[count]\nbin_s = 0\n[kafka]\nclock = "sun"\n')
        assert problems() == [
            "kafka.clock = \"sun\" (tocsin.toml): must be 'broker' or 'log'",
            "count.bin_s = 0 (tocsin.toml): must be greater than or equal to 1",
        ]

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOCSIN_COUNT__MAX_NAMES", "many")
        assert problems() == [
            'count.max_names = "many" (environment variable TOCSIN_COUNT__MAX_NAMES): '
            "must be a valid integer, unable to parse string as an integer"
        ]

    def test_of_the_command_line(self) -> None:
        assert problems(**{"worker.http_port": "70000"}) == [
            'worker.http_port = "70000" (command line): must be less than or equal to 65535'
        ]

    def test_of_several_sources_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("tocsin.toml").write_text("[count]\nflush_s = -1\nbin_s = 60\n")
        monkeypatch.setenv("TOCSIN_COUNT__BIN_S", "x")
        lines = problems(**{"count.max_names": 0})
        assert [line.split(":")[0] for line in lines] == [
            'count.bin_s = "x" (environment variable TOCSIN_COUNT__BIN_S)',
            "count.max_names = 0 (command line)",
            "count.flush_s = -1 (tocsin.toml)",
        ]

    def test_a_bin_must_divide_a_day(self) -> None:
        assert problems(**{"count.bin_s": 7}) == [
            "count.bin_s = 7 (command line): must divide a day of 86400 s, as 60 and 300 do"
        ]

    def test_an_epoch_is_whole_bins_even_by_default(self) -> None:
        assert problems(**{"count.bin_s": 3600}) == [
            "count.epoch_s = 900 (default): must be a multiple of count.bin_s, which is 3600"
        ]

    def test_a_policy_is_named_by_its_place(self) -> None:
        Path("tocsin.toml").write_text("[[policy]]\n[[policy]]\nraise_above = 0\n")
        assert problems() == ["policy[1].raise_above = 0 (tocsin.toml): must be greater than or equal to 1"]

    def test_json_of_the_environment_is_named_by_its_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOCSIN_POLICY", '[{"clear_below": "low"}]')
        assert problems()[0].startswith('policy[0].clear_below = "low" (environment variable TOCSIN_POLICY): must be')

    def test_broken_json_is_no_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOCSIN_POLICY", "[{")
        assert problems() == ['policy = "[{" (environment variable TOCSIN_POLICY): must be a list of tables']

    def test_a_time_zone_must_exist(self) -> None:
        assert problems(**{"regions.US.timezone": "Mars/Olympus"}) == [
            'regions.US.timezone = "Mars/Olympus" (command line): '
            "must be a time zone of the IANA database, such as 'Europe/Berlin'"
        ]

    def test_a_region_code_must_be_one_that_reports_can_carry(self) -> None:
        assert problems(regions={"U.S.": {}})[0].startswith('regions.U.S. = "U.S." (command line): must match pattern')

    def test_a_section_is_a_table(self) -> None:
        assert problems(**{"count": "60", "count.bin_s": "60"}) == ['count = "60" (command line): must be a table']

    def test_infinity_is_no_duration(self) -> None:
        assert problems(**{"worker.stalled_after_s": "inf"}) == [
            'worker.stalled_after_s = "inf" (command line): must be a finite number'
        ]

    def test_of_another_version_of_the_file(self) -> None:
        Path("tocsin.toml").write_text("version = 2\n")
        assert problems() == ["version = 2 (tocsin.toml): must be less than or equal to 1"]


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("count.bin_z", "count.bin_s"),
            ("count.binsize_s", "count.bin_s"),
            ("kafka.bin_s", "count.bin_s"),
            ("bin_s", "count.bin_s"),
            ("kafka.bootstrap_server", "kafka.bootstrap_servers"),
            ("detect.ratio.abov", "detect.ratio.above"),
            ("regions.US.nam", "regions.*.name"),
        ],
    )
    def test_the_nearest_known_one_is_suggested(self, key: str, meant: str) -> None:
        assert problems(**{key: "1"}) == [f'{key} = "1" (command line): unknown key, did you mean {meant}?']

    def test_in_a_policy(self) -> None:
        Path("tocsin.toml").write_text("[[policy]]\nraise_over = 3\n")
        assert problems() == ["policy[0].raise_over = 3 (tocsin.toml): unknown key, did you mean policy[].raise_above?"]

    @pytest.mark.parametrize("key", [r'"\n\n"', '""'])
    def test_that_would_not_be_seen_is_shown_in_quotes(self, key: str) -> None:
        Path("tocsin.toml").write_text(f"{key} = 1\n")
        assert problems() == [f"{key} = 1 (tocsin.toml): unknown key; tocsin.example.toml lists the known ones"]

    @pytest.mark.parametrize("variable", ["TOCSIN_KAFKA_PREFIX", "TOCSIN_KAFKA__PREFIXX"])
    def test_an_unknown_variable_is_told_the_nearest_variable(
        self, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "a")
        (line,) = problems()
        assert line.endswith(f"(environment variable {variable}): unknown key, did you mean TOCSIN_KAFKA__PREFIX?")

    def test_what_resembles_nothing_is_pointed_to_the_example(self) -> None:
        assert problems(qqqq=1) == [
            "qqqq = 1 (command line): unknown key; tocsin.example.toml lists the known ones",
        ]


class TestUnusableFiles:
    def test_a_missing_file_of_the_command_line(self) -> None:
        assert problems(Path("none.toml")) == ["none.toml: no such file (command line)"]

    def test_a_missing_file_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOCSIN_SETTINGS", "none.toml")
        assert problems() == ["none.toml: no such file (environment variable TOCSIN_SETTINGS)"]

    def test_a_syntax_error_is_named_with_its_line(self) -> None:
        Path("tocsin.toml").write_text("[count]\nbin_s = 60\nbin s = 30\n")
        (line,) = problems()
        assert line.startswith("tocsin.toml: not TOML: ")
        assert "at line 3, column" in line

    def test_a_file_that_is_nested_without_end(self) -> None:
        Path("tocsin.toml").write_text(f"policy = {'[' * 100_000}")
        assert problems() == ["tocsin.toml: not TOML that can be read: nested too deeply"]

    def test_a_file_that_is_not_text(self) -> None:
        Path("tocsin.toml").write_bytes(b"\xff\xfe\x00")
        (line,) = problems()
        assert line.startswith("tocsin.toml: not TOML: ")


class TestFingerprints:
    def test_counting_has_a_fingerprint_of_all_that_shapes_it(self) -> None:
        plain = Settings().counting
        changes: list[dict[str, Any]] = [
            {"count.bin_s": 30},
            {"count.window_bins": 10},
            {"count.epoch_s": 1800},
            {"count.allowed_lateness_s": 60},
            {"count.max_names": 10},
            {"kafka.reports_partitions": 8},
            {"kafka.counts_partitions": 8},
        ]
        assert len({plain, *(load(**change).counting for change in changes)}) == 1 + len(changes)

    def test_counting_does_not_care_where_the_cluster_is_or_how_often_it_flushes(self) -> None:
        moved = load(**{"kafka.bootstrap_servers": "b:9092", "count.flush_s": 2, "count.idle_tick_s": 9})
        assert moved.counting == Settings().counting

    def test_detection_has_a_fingerprint_of_its_own_settings_and_of_counting(self) -> None:
        changes: list[dict[str, Any]] = [
            {"detect.ratio.above": 6},
            {"policy": [{"clear_below": 650}]},
            {"regions.US.timezone": "America/New_York"},
            {"count.bin_s": 30},
        ]
        assert len({Settings().detecting, *(load(**change).detecting for change in changes)}) == 1 + len(changes)


class TestTheExample:
    def test_as_it_is_it_changes_nothing(self) -> None:
        assert load(EXAMPLE) == Settings()

    def test_it_holds_every_key_with_its_default(self) -> None:
        defaults = {key: value for key, value in _leaves(Settings().model_dump()) if value not in ([], {})}
        assert dict(_leaves(tomllib.loads(EXAMPLE.read_text()))) == defaults

    def test_it_shows_every_key_of_policies_and_regions_commented_out(self) -> None:
        shown = re.sub(r"^#(?=[\[a-z])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
        Path("tocsin.toml").write_text(shown)
        settings = load()
        assert settings.policy[0].model_fields_set == set(Policy.model_fields)
        assert settings.regions["US"].model_fields_set == set(Region.model_fields)

    def test_every_key_is_explained_above_it(self) -> None:
        lines = EXAMPLE.read_text().splitlines()
        keys = [number for number, line in enumerate(lines) if re.match(r"#?[a-z0-9_]+ = ", line)]
        assert len(keys) == len(list(known_keys(Settings)))
        unexplained = [lines[number] for number in keys if not lines[number - 1].startswith("# ")]
        # The two keys of a policy's address, and the two of a region, share an explanation.
        assert [line.split(" = ")[0] for line in unexplained] == ["#region", "#name", "#timezone"]


def _leaves(table: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in table.items():
        leaves += _leaves(value, f"{path}{key}.") if isinstance(value, dict) and value else [(path + key, value)]
    return leaves
