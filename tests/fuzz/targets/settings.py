"""Settings files."""

from __future__ import annotations

from pathlib import Path

from streams.policy import Policies
from streams.settings import Settings, load
from streams.settings_sources import SettingsError
from tests.fuzz.target import require, scratch

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


class Target:
    """Any bytes: an error that names the file and the key, or settings that the rest can work with."""

    together = 1
    tokens = (
        *(b"[kafka]\n", b"[count]\n", b"[[policy]]\n", b"[regions.GB]\n", b"[detect]\n", b"[worker]\n", b'"""', b"'''"),
        *(b"bin_s = 7\n", b"epoch_s = 1\n", b"raise_above = 1\n", b"timezone = 'Mars'\n", b"1979-05-27T07:32:00Z"),
        *(b'"" = 1\n', b"a.b.c = 1\n", b'"\\n" = 1\n', b"0x7f", b"= [1, 2]\n", b"= {a = 1}\n", b'service = "*"\n'),
    )

    def __init__(self) -> None:
        self._folder = scratch()
        self._path = Path(self._folder.name, "tocsin.toml")
        text = EXAMPLE.read_bytes()
        self.seeds = [
            SMALL,
            b"",
            b"colour = 1\n[count]\nbin = 60\nbin_s = 7\n",
            b"[count]\nbin_s = 300\nepoch_s = 900\n",
        ]
        self.seeds += [text, b"\n".join(line.removeprefix(b"# ") for line in text.splitlines())]

    def judge(self, data: bytes) -> None:
        """Read `data` as a settings file."""
        self._path.write_bytes(data)
        try:
            settings = load(self._path)
        except SettingsError as error:
            require("", error)
            for line in str(error).splitlines():
                # the key, its value and where it was read; or the file, where it is not TOML at all
                if not self._names_its_cause(line):
                    raise AssertionError(line) from error
            return
        assert settings == Settings(**settings.model_dump()) == settings.detecting_as(settings.detection_tables)
        try:
            Policies(settings.policy, settings.count.bin_ms).limits("x", "US")
        except SettingsError as error:
            require("policy[", error)

    def _names_its_cause(self, line: str) -> bool:
        read = any(f" ({source}): " in line for source in (self._path, "default"))
        return line.startswith(f"{self._path}: ") or (" = " in line and read)
