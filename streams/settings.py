"""The settings of a deployment: `tocsin.toml`, the environment, the command line.

Precedence, highest first: command line, `TOCSIN_SECTION__KEY` (and `KAFKA_BOOTSTRAP_SERVERS`), the file, the
defaults below. Tables are merged key by key; of the list `policy` the highest source that has one counts. An unknown
key is an error that names it. `tocsin.example.toml` explains every key.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streams.events import DAY_MS, MINUTE_MS
from streams.settings_kafka import Kafka as Kafka
from streams.settings_kafka import Section
from streams.settings_sources import SettingsError as SettingsError
from streams.settings_sources import Sources


class Count(Section):
    """What shapes counting; fixed for the life of a counts topic, but for the two flush settings."""

    bin_s: Annotated[int, Field(ge=1, le=3600)] = 60
    window_bins: Annotated[int, Field(ge=1, le=1440)] = 15
    epoch_s: Annotated[int, Field(ge=1, le=DAY_MS // 1000, validate_default=True)] = 900
    allowed_lateness_s: Annotated[int, Field(ge=0, le=3600)] = 30
    max_names: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    flush_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    idle_tick_s: Annotated[float, Field(gt=0, le=600)] = 5.0

    @property
    def bin_ms(self) -> int:
        """Length of a bin in milliseconds."""
        return self.bin_s * 1000

    @property
    def epoch_ms(self) -> int:
        """Length of an epoch in milliseconds."""
        return self.epoch_s * 1000

    @property
    def lateness_ms(self) -> int:
        """Allowed lateness in milliseconds."""
        return self.allowed_lateness_s * 1000

    @property
    def window_ms(self) -> int:
        """Length of a window in milliseconds."""
        return self.window_bins * self.bin_ms

    @field_validator("bin_s")
    @classmethod
    def _divides_a_day(cls, bin_s: int) -> int:
        if DAY_MS // 1000 % bin_s:
            raise ValueError("must divide a day of 86400 s, as 60 and 300 do")
        return bin_s

    @field_validator("epoch_s")
    @classmethod
    def _is_whole_bins(cls, epoch_s: int, info: ValidationInfo) -> int:
        bin_s = info.data.get("bin_s")  # absent when it is wrong itself
        if bin_s and epoch_s % bin_s:
            raise ValueError(f"must be a multiple of count.bin_s, which is {bin_s}")
        return epoch_s


class Limit(Section):
    """The absolute limit: reports per bin above which a bin is in excess."""

    above: Annotated[float, Field(gt=0)] = 100.0


class Ratio(Section):
    """The ratio to the 7-day median above which a bin is in excess."""

    above: Annotated[float, Field(gt=1)] = 5.0
    min_excess: Annotated[float, Field(gt=0)] = 5.0


class Ears(Section):
    """How many standard deviations above the mean of a week a quarter of an hour is in excess."""

    above: Annotated[float, Field(gt=0)] = 3.0


class Detect(Section):
    """Which detector runs, and how long its state lives."""

    detector: Literal["nbsr", "ratio", "ears", "limit"] = "nbsr"
    limit: Limit = Limit()
    ratio: Ratio = Ratio()
    ears: Ears = Ears()
    merge_gap_minutes: Annotated[int, Field(ge=0, le=10080)] = 60
    unknown_after_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    snapshot_every_bins: Annotated[int, Field(ge=1, le=1440)] = 5
    born_reports: Annotated[int, Field(ge=1)] = 1
    forget_days: Annotated[int, Field(ge=1, le=365)] = 28
    false_alarms_per_30_days: Annotated[float, Field(gt=0)] = 10.0
    fleet_keys: Annotated[int, Field(ge=1)] = 100

    @property
    def has_whole_service(self) -> bool:
        """Whether whole services are watched beside their regions: an absolute limit is of one region."""
        return self.detector != "limit"

    def mean_bins_between_false_alarms(self, bin_ms: int) -> float:
        """Return how many bins the budget leaves between two false alarms of one service and region."""
        return 30 * DAY_MS / bin_ms * self.fleet_keys / self.false_alarms_per_30_days

    @property
    def merge_gap_ms(self) -> int:
        """The longest quiet stretch between two incidents of one outage, in milliseconds."""
        return self.merge_gap_minutes * MINUTE_MS

    def unknown_after_bins(self, bin_ms: int) -> int:
        """Return after how many bins in a row without any knowledge an open incident becomes unknown."""
        return -(-self.unknown_after_minutes * MINUTE_MS // bin_ms)


class Policy(Section):
    """Limits for the services and regions that match; `*` and `?` are wildcards.

    `raise_above` and `clear_below` are reports per window. Where several policies match, each key is taken from
    the most specific one that sets it: an exact service beats a wildcard, then an exact region does; of two equals
    the later one counts.
    """

    service: str = "*"
    region: str = "*"
    raise_above: Annotated[int, Field(ge=1)] | None = None
    clear_below: Annotated[int, Field(ge=1)] | None = None
    min_open_minutes: Annotated[int, Field(ge=0, le=1440)] | None = None
    clear_windows: Annotated[int, Field(ge=1, le=1440)] | None = None
    enabled: bool | None = None

    def matches(self, service: str, region: str) -> bool:
        """Return whether this policy speaks of that service and region."""
        return fnmatch.fnmatchcase(service, self.service) and fnmatch.fnmatchcase(region, self.region)

    @property
    def specificity(self) -> tuple[bool, bool, int]:
        """How narrowly the policy is addressed; larger wins."""
        exact = [not set(name) & set("*?[") for name in (self.service, self.region)]
        return exact[0], exact[1], len(self.service) + len(self.region)


#: With fewer bins between two false alarms of a key a threshold means nothing.
LEAST_BINS = 60
RegionCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]


class Region(Section):
    """What people call a region, and the clock its people live by."""

    name: str | None = None
    timezone: str | None = None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        try:
            ZoneInfo(value or "UTC")
        except (KeyError, ValueError, OSError):
            raise ValueError("must be a time zone of the IANA database, such as 'Europe/Berlin'") from None
        return value


class Worker(Section):
    """The HTTP side of a worker: /metrics, /livez, /readyz, of one stage or of all that it runs."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 6066
    stalled_after_s: Annotated[float, Field(gt=0)] = 300.0
    max_metric_series: Annotated[int, Field(ge=1)] = 2000


class Web(Section):
    """The page and the API: a process of its own, which reads facts into a file."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 6068
    database: Annotated[str, Field(min_length=1)] = "tocsin-web.sqlite3"
    title: Annotated[str, Field(min_length=1, max_length=80)] = "Tocsin"
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$")] = ""
    stale_after_s: Annotated[float, Field(gt=0)] = 180.0
    max_streams: Annotated[int, Field(ge=1, le=100_000)] = 2000


class Privacy(Section):
    """What stands for a reporter where people look: in the output of commands, never in facts, logs or metrics."""

    reporter_key_file: str = ""


class Settings(BaseSettings):
    """All settings of a deployment; `Settings(...)` is what it is given, `load` reads the file and the environment."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, case_sensitive=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    kafka: Kafka = Kafka()
    count: Count = Count()
    detect: Detect = Detect()
    policy: list[Policy] = []
    regions: dict[RegionCode, Region] = {}
    worker: Worker = Worker()
    web: Web = Web()
    privacy: Privacy = Privacy()

    @field_validator("detect")
    @classmethod
    def _leaves_time_between_false_alarms(cls, detect: Detect, info: ValidationInfo) -> Detect:
        count = info.data.get("count")  # absent when it is wrong itself
        if count is not None and detect.mean_bins_between_false_alarms(count.bin_ms) < LEAST_BINS:
            raise ValueError(
                f"false_alarms_per_30_days = {detect.false_alarms_per_30_days:g} for fleet_keys = {detect.fleet_keys} "
                f"leaves each key fewer than {LEAST_BINS} bins between two false alarms: ask for fewer"
            )
        return detect

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments; see `load`."""
        return (init_settings,)

    @property
    def counting(self) -> str:
        """Fingerprint of everything that shapes counting: carried by frames, marks and commits."""
        shape = self.count.model_dump(exclude={"flush_s", "idle_tick_s"})
        shape |= {"sources": self.kafka.reports_partitions, "counts": self.kafka.counts_partitions}
        return _fingerprint(shape)

    @property
    def detecting(self) -> str:
        """Fingerprint of everything that shapes detection: carried by snapshots."""
        return _fingerprint(self.detection_tables | {"counting": self.counting})

    @property
    def detection_tables(self) -> dict[str, Any]:
        """The tables that shape detection, as they are kept in facts and snapshots."""
        return self.model_dump(include={"detect", "policy", "regions"}, mode="json")

    def detecting_as(self, tables: dict[str, Any]) -> Settings:
        """Return these settings with other tables that shape detection.

        Raises
        ------
        SettingsError
            If this version does not know them.
        """
        try:
            return Settings(**{name: getattr(self, name) for name in type(self).model_fields} | tables)
        except ValidationError as error:
            raise SettingsError(f"detection settings that this version does not know: {error}") from None


def load(path: Path | None = None, /, **overrides: Any) -> Settings:
    """Return the settings of this deployment.

    Parameters
    ----------
    path
        The settings file; without it the one that `TOCSIN_SETTINGS` names, else `tocsin.toml` here if there is one.
    **overrides
        Settings of the command line by dotted key, such as `**{"kafka.prefix": "tocsin-demo"}`.

    Raises
    ------
    SettingsError
        With a line for each problem: its key, its value, where it was read and what would be valid.
    """
    sources = Sources(Settings, path, overrides)
    try:
        return Settings(**sources.merged)
    except ValidationError as error:
        raise SettingsError("\n".join(sources.problem(**details) for details in error.errors())) from None


def _fingerprint(shape: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
