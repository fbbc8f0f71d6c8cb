"""The tables of the read model, and how the newest document of something replaces an older one, and no other."""

from __future__ import annotations

#: A file of another version is made anew.
SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    topic TEXT, partition INTEGER, offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE services (
    service TEXT PRIMARY KEY, bin_ms INTEGER NOT NULL, levels BLOB NOT NULL, summary BLOB NOT NULL,
    state TEXT NOT NULL, rank INTEGER NOT NULL, window INTEGER NOT NULL, revision INTEGER NOT NULL,
    worded INTEGER NOT NULL  -- the revision at which what is said of it in words last changed
) WITHOUT ROWID;
CREATE INDEX services_revision ON services (revision);
CREATE TABLE levels (
    service TEXT, bin_ms INTEGER, count INTEGER NOT NULL, window INTEGER NOT NULL, expected REAL, state TEXT NOT NULL,
    regions BLOB NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (service, bin_ms)
) WITHOUT ROWID;
CREATE TABLE quarters (
    service TEXT, start_ms INTEGER, count INTEGER NOT NULL, window INTEGER NOT NULL, expected REAL, state TEXT NOT NULL,
    bins INTEGER NOT NULL, regions BLOB NOT NULL, PRIMARY KEY (service, start_ms)
) WITHOUT ROWID;
CREATE INDEX quarters_whole ON quarters (service, start_ms, state, count, expected);
CREATE TABLE incidents (
    id TEXT PRIMARY KEY, service TEXT NOT NULL, region TEXT NOT NULL, state TEXT NOT NULL, opened_ms INTEGER NOT NULL,
    closed_ms INTEGER, sequence INTEGER NOT NULL, document BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX incidents_newest ON incidents (opened_ms, id);
CREATE INDEX incidents_service ON incidents (service, opened_ms);
CREATE TABLE transitions (
    id TEXT, sequence INTEGER, at_ms INTEGER NOT NULL, service TEXT NOT NULL, document BLOB NOT NULL,
    revision INTEGER NOT NULL, PRIMARY KEY (id, sequence)
) WITHOUT ROWID;
CREATE INDEX transitions_revision ON transitions (revision);
CREATE TABLE outages (
    id TEXT PRIMARY KEY, service TEXT NOT NULL, state TEXT NOT NULL, opened_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    sequence INTEGER NOT NULL, document BLOB NOT NULL, revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX outages_newest ON outages (opened_ms, id);
CREATE INDEX outages_service ON outages (service, opened_ms);
CREATE INDEX outages_revision ON outages (revision);
CREATE TABLE changes (id TEXT, sequence INTEGER, document BLOB NOT NULL, PRIMARY KEY (id, sequence)) WITHOUT ROWID;
CREATE TABLE series (
    outage TEXT, region TEXT, start_ms INTEGER, document BLOB NOT NULL, PRIMARY KEY (outage, region, start_ms)
) WITHOUT ROWID;
"""

ENTER_INCIDENT = """
INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, closed_ms = excluded.closed_ms, sequence = excluded.sequence, document = excluded.document
WHERE excluded.sequence > sequence
"""
ENTER_OUTAGE = """
INSERT INTO outages VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, at_ms = excluded.at_ms, sequence = excluded.sequence, document = excluded.document,
    revision = excluded.revision
WHERE excluded.sequence > sequence
"""
#: What is said of the service in short is worked out once all facts of a batch are entered.
ENTER_SERVICE = """
INSERT INTO services VALUES (?, ?, ?, x'', '', 0, 0, 0, 0) ON CONFLICT (service) DO UPDATE SET
    bin_ms = excluded.bin_ms, levels = excluded.levels
WHERE excluded.bin_ms > bin_ms
"""
