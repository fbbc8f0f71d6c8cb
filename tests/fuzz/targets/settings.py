"""Settings files."""

from __future__ import annotations

import os
from pathlib import Path

from streams.policy import Policies
from streams.settings import Settings, load
from streams.settings_sources import SettingsError
from tests.fuzz.target import scratch

EXAMPLE = Path(__file__).parents[3] / "tocsin.example.toml"
SMALL = b"""version = 1
[kafka]
bootstrap_servers = "[::1]:9092,kafka-2.example.net"
[count]
bin_s = 60
flush_s = 0.5
[detect.ratio]
above = 4.5
[[policy]]
service = "x*"
region = "US"
raise_above = 750
clear_below = 650
[regions.US]
name = "United States"
timezone = "America/New_York"
"""


class TARGET:
    """Any bytes: an error that names the file and the key, or settings that the rest can work with."""

    together = 1
    tokens = (
        *(b"[kafka]\n", b"[count]\n", b"[[policy]]\n", b"[regions.GB]\n", b"[detect]\n", b"[worker]\n", b'"""', b"'''"),
        *(b"bin_s = 7\n", b"epoch_s = 1\n", b"raise_above = 1\n", b"timezone = 'Mars'\n", b"1979-05-27T07:32:00Z"),
        *(b'"" = 1\n', b"a.b.c = 1\n", b'"\\n" = 1\n', b"0x7f", b"= [1, 2]\n", b"= {a = 1}\n", b'service = "*"\n'),
    )
    seeds = (SMALL, b"", b"[count]\nbin_s = 300\nepoch_s = 900\n", b"colour = 1\n[count]\nbin = 60\nbin_s = 7\n")

    def __init__(self) -> None:
        for variable in [name for name in os.environ if name.startswith(("TOCSIN_", "KAFKA_"))]:
            del os.environ[variable]
        self._folder = scratch()
        self._path = Path(self._folder.name, "tocsin.toml")
        text = EXAMPLE.read_bytes()
        self.seeds = (*self.seeds, text, b"\n".join(line.removeprefix(b"# ") for line in text.splitlines()))

    def judge(self, data: bytes) -> None:
        """Read `data` as a settings file."""
        self._path.write_bytes(data)
        try:
            settings = load(self._path)
        except SettingsError as error:
            lines = str(error).splitlines()
            assert lines
            for line in lines:
                # the key, its value and where it was read; or the file, where it is not TOML at all
                assert line.startswith(f"{self._path}: ") or (" = " in line and f"({self._path}): " in line), line
            return
        assert settings == Settings(**settings.model_dump()) == settings.detecting_as(settings.detection_tables)
        try:
            Policies(settings.policy, settings.count.bin_ms).limits("x", "US")
        except SettingsError as error:
            assert "policy[" in str(error)
