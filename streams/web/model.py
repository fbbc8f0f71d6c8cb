"""The read model: facts in a SQLite file, made anew from the topics wherever it is missing or of another kind.

Every fact has its key for a primary key, and is entered together with the offset behind it; so facts may come again
and in any order, and a process that dies has entered each of them or not. What may be asked is in `query`.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, NamedTuple

import msgspec
import structlog

from streams.archive import QUARTER_MS
from streams.events import DAY_MS, MINUTE_MS, Incident, Levels, Outage, QuarterLevels, Series, decode, encode
from streams.settings import Settings
from streams.topics import Topics
from streams.web import rows, shapes
from streams.web.now import summarize, worded
from streams.web.schema import ENTER_INCIDENT, ENTER_OUTAGE, ENTER_SERVICE, SCHEMA, SCHEMA_VERSION

log = structlog.get_logger(__name__)

#: What is kept of the bins, of the quarters, and of what has ended; by event time.
BINS_KEPT_MS = 26 * 60 * MINUTE_MS
QUARTERS_KEPT_MS = 8 * DAY_MS
ENDED_KEPT_MS = 400 * DAY_MS

Kind = Literal["incidents", "outages", "levels", "quarters", "series"]

_CACHE_KIB = 16_384
_service_decoder = msgspec.json.Decoder(shapes.Service)


class ModelError(Exception):
    """The file of the read model cannot be used; the message names it."""


class Fact(NamedTuple):
    """One record of a topic that the model is made from."""

    topic: str
    partition: int
    offset: int
    value: bytes


@dataclass(slots=True)
class Applied:
    """What entering some records has come to, in facts by topic."""

    revision: int
    entered: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    contradicted: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)


class ReadModel:
    """The file, as the only one who writes to it.

    Parameters
    ----------
    settings
        The deployment's settings: `web.database` is the file.
    cluster
        Name of the Kafka cluster that the facts are from, where it is known: a model of another one is made anew.

    Raises
    ------
    ModelError
        If the file cannot be written, is something else, or another process writes to it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bin_ms = settings.count.bin_ms
        topics = Topics(settings.kafka.prefix)
        self.topics: dict[str, Kind] = {
            topics.incidents: "incidents",
            topics.outages: "outages",
            topics.levels: "levels",
            topics.levels_15m: "quarters",
            topics.series: "series",
        }
        self.path = Path(settings.web.database)
        self._lock = _locked(self.path)
        self._origin = {
            "schema": str(SCHEMA_VERSION),
            "prefix": settings.kafka.prefix,
            "bin_ms": str(self._bin_ms),
            "window_bins": str(settings.count.window_bins),
        }
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._lock.close()
            raise ModelError(f"cannot use {self.path} (web.database): {error}") from None

    def close(self) -> None:
        """Give the file free."""
        self._db.close()
        self._lock.close()

    @property
    def name(self) -> str:
        """Name of this model: another one after it was made anew."""
        return self._meta("name") or ""

    @property
    def revision(self) -> int:
        """Number of the last change."""
        return int(self._meta("revision") or 0)

    @property
    def newest_ms(self) -> int | None:
        """Start of the newest judged bin."""
        newest: int | None = self._db.execute("SELECT max(bin_ms) FROM services").fetchone()[0]
        return newest

    def positions(self) -> dict[tuple[str, int], int]:
        """Return up to which offset each partition has been entered."""
        return {(topic, partition): offset for topic, partition, offset in self._db.execute("SELECT * FROM positions")}

    def belongs_to(self, cluster: str) -> bool:
        """Return whether the facts are from this cluster; those of the first one that is named are."""
        known = self._meta("cluster")
        if known is None:
            self._db.execute("INSERT INTO meta VALUES ('cluster', ?)", (cluster,))
        return known in (None, cluster)

    def clear(self) -> None:
        """Forget everything: the model is made anew."""
        with self._transaction():
            for (table,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                self._db.execute(f"DELETE FROM {table}")
            self._name()

    def apply(self, facts: Iterable[Fact], positions: Mapping[tuple[str, int], int]) -> Applied:
        """Enter facts, and with them up to where each partition has been read.

        Raises
        ------
        VersionError
            If a fact is of a version that this Tocsin does not know.
        """
        applied = Applied(self.revision + 1)
        touched: set[str] = set()
        with self._transaction():
            newest_ms = self.newest_ms
            for fact in facts:
                kind = self.topics[fact.topic]
                try:
                    self._enter(kind, fact.value, applied, touched)
                except msgspec.DecodeError as error:
                    applied.unreadable[kind] += 1
                    where = {"topic": fact.topic, "partition": fact.partition, "offset": fact.offset}
                    log.warning("a record is no fact and is passed over", **where, error=str(error))
            for service in touched:
                self._summarize(service, applied.revision)
            self._prune(newest_ms)
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", [(*tp, offset) for tp, offset in positions.items()]
            )
            if applied.entered:
                changed = ["revision"] + ["quarters"] * bool(applied.entered["quarters"])
                self._db.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, str(applied.revision)) for name in changed]
                )
            else:
                applied.revision -= 1
        return applied

    def _enter(self, kind: Kind, value: bytes, applied: Applied, touched: set[str]) -> None:
        match kind:
            case "incidents":
                self._enter_incident(decode(value, Incident), value, applied)
            case "outages":
                self._enter_outage(decode(value, Outage), value, applied, touched)
            case "levels":
                self._enter_levels(decode(value, Levels), value, applied, touched)
            case "quarters":
                self._enter_quarter(decode(value, QuarterLevels), applied)
            case "series":
                series = decode(value, Series)
                key = (series.outage, series.region, series.start_ms)
                new = self._db.execute("INSERT OR IGNORE INTO series VALUES (?, ?, ?, ?)", (*key, value)).rowcount
                known = "SELECT document FROM series WHERE (outage, region, start_ms) = (?, ?, ?)"
                self._count("series", new, applied, known, key, value)

    def _enter_incident(self, incident: Incident, value: bytes, applied: Applied) -> None:
        key = (incident.id, incident.sequence)
        new = self._db.execute(
            "INSERT OR IGNORE INTO transitions VALUES (?, ?, ?, ?, ?, ?)",
            (*key, incident.at_ms, incident.service, value, applied.revision),
        ).rowcount
        known = "SELECT document FROM transitions WHERE (id, sequence) = (?, ?)"
        if self._count("incidents", new, applied, known, key, value):
            self._db.execute(
                ENTER_INCIDENT,
                (
                    incident.id,
                    incident.service,
                    incident.region,
                    incident.state,
                    incident.opened_ms,
                    incident.closed_ms,
                    incident.sequence,
                    value,
                ),
            )

    def _enter_outage(self, outage: Outage, value: bytes, applied: Applied, touched: set[str]) -> None:
        key = (outage.id, outage.sequence)
        new = self._db.execute("INSERT OR IGNORE INTO changes VALUES (?, ?, ?)", (*key, value)).rowcount
        known = "SELECT document FROM changes WHERE (id, sequence) = (?, ?)"
        if self._count("outages", new, applied, known, key, value):
            touched.add(outage.service)
            self._db.execute(
                ENTER_OUTAGE,
                (
                    outage.id,
                    outage.service,
                    outage.state,
                    outage.opened_ms,
                    outage.at_ms,
                    outage.sequence,
                    value,
                    applied.revision,
                ),
            )

    def _enter_levels(self, levels: Levels, value: bytes, applied: Applied, touched: set[str]) -> None:
        total = rows.whole(levels.regions)
        new = self._db.execute(
            "INSERT OR IGNORE INTO levels VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                levels.service,
                levels.bin_ms,
                total.count,
                total.window,
                total.expected,
                total.state,
                rows.pack(rows.of_levels(levels)),
                applied.revision,
            ),
        ).rowcount
        (applied.entered if new else applied.repeated)["levels"] += 1
        if not new:
            return
        touched.add(levels.service)
        self._db.execute(ENTER_SERVICE, (levels.service, levels.bin_ms, value))

    def _enter_quarter(self, quarter: QuarterLevels, applied: Applied) -> None:
        total = rows.whole_quarter(quarter)
        new = self._db.execute(
            "INSERT OR IGNORE INTO quarters VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                quarter.service,
                quarter.start_ms,
                total.count,
                total.window,
                total.expected,
                total.state,
                total.bins,
                rows.pack(rows.of_quarter(quarter)),
            ),
        ).rowcount
        (applied.entered if new else applied.repeated)["quarters"] += 1

    def _count(self, kind: Kind, new: int, applied: Applied, known: str, key: tuple[object, ...], value: bytes) -> bool:
        """Count a fact and return whether it is new; `known` asks for the value that its key has."""
        if new:
            applied.entered[kind] += 1
            return True
        same = self._db.execute(known, key).fetchone()[0] == value
        (applied.repeated if same else applied.contradicted)[kind] += 1
        return False

    def _summarize(self, service: str, revision: int) -> None:
        """Bring what is said of a service now up to date."""
        found = self._db.execute(
            "SELECT levels, summary, worded FROM services WHERE service = ?", (service,)
        ).fetchone()
        if found is None:
            return  # an outage is known before the first level
        levels, before, worded_at = found
        outage = self._db.execute(
            "SELECT document FROM outages WHERE service = ? AND state = 'open' ORDER BY opened_ms DESC LIMIT 1",
            (service,),
        ).fetchone()
        summary = summarize(
            decode(levels, Levels), None if outage is None else decode(outage[0], Outage), self._settings
        )
        if not before or worded(_service_decoder.decode(before)) != worded(summary):
            worded_at = revision
        self._db.execute(
            "UPDATE services SET summary = ?, state = ?, rank = ?, window = ?, revision = ?, worded = ?"
            " WHERE service = ?",
            (encode(summary), summary.state, rows.rank(summary.state), summary.window, revision, worded_at, service),
        )

    def _prune(self, before_ms: int | None) -> None:
        """Forget what is too old, once a quarter; `before_ms` is the newest bin before this change."""
        newest_ms = self.newest_ms
        if newest_ms is None or before_ms is None or newest_ms // QUARTER_MS == before_ms // QUARTER_MS:
            return
        for table, column, kept_ms in (
            ("levels", "bin_ms", BINS_KEPT_MS),
            ("quarters", "start_ms", QUARTERS_KEPT_MS),
        ):
            for (service,) in self._db.execute("SELECT service FROM services").fetchall():
                old = f"DELETE FROM {table} WHERE service = ? AND {column} <= ?"
                self._db.execute(old, (service, newest_ms - kept_ms))
        self._db.execute("DELETE FROM services WHERE bin_ms <= ?", (newest_ms - BINS_KEPT_MS,))
        ended = "SELECT id FROM {} WHERE opened_ms <= ? AND state <> 'open'"
        before = (newest_ms - ENDED_KEPT_MS,)
        self._db.execute(f"DELETE FROM transitions WHERE id IN ({ended.format('incidents')})", before)
        self._db.execute("DELETE FROM incidents WHERE opened_ms <= ? AND state <> 'open'", before)
        for table, column in (("changes", "id"), ("series", "outage")):
            self._db.execute(f"DELETE FROM {table} WHERE {column} IN ({ended.format('outages')})", before)
        self._db.execute("DELETE FROM outages WHERE opened_ms <= ? AND state <> 'open'", before)

    def _open(self) -> None:
        if self._is_there():
            self._db = self._connect()
            return
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._db = self._connect()
        self._db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        with self._transaction():
            self._name()

    def _is_there(self) -> bool:
        """Return whether the file is a read model of this deployment; leave it alone if it is something else."""
        if not self.path.exists():
            return False
        with closing(sqlite3.connect(self.path)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
            if tables and not {"meta", "transitions"} <= tables:
                raise sqlite3.DatabaseError("it is a database, but no read model: remove it, or name another file")
            known = dict(db.execute("SELECT name, value FROM meta")) if tables else {}
        return {name: known.get(name) for name in self._origin} == self._origin

    def _name(self) -> None:
        named = {**self._origin, "name": secrets.token_hex(4), "revision": "0", "quarters": "0"}
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", named.items())

    def _connect(self) -> sqlite3.Connection:
        # made in the thread of whoever starts the process, and used by the one that reads the topics
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        # a commit that a power cut takes back is read from the topics again
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{_CACHE_KIB}"):
            db.execute(f"PRAGMA {pragma}")
        return db

    def _meta(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """All or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _locked(path: Path) -> IO[bytes]:
    """Return a lock on the file that no other process has."""
    lock = Path(f"{path}.lock")
    try:
        handle = lock.open("ab")
    except OSError as error:
        raise ModelError(f"cannot use {path} (web.database): {lock}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise ModelError(f"cannot use {path} (web.database): another tocsin web does") from None
    return handle
