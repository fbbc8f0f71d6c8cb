"""What can be asked of the read model: services, incidents and outages as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streams.display import duration
from streams.events import Incident, Levels, Outage, decode, instant
from streams.outages import WHOLE_SERVICE
from streams.settings import Settings
from streams.web import rows, shapes
from streams.web.database import Database, meta, newest_ms
from streams.web.model import BINS_KEPT_MS
from streams.web.now import region_now

#: Opening and id of the last entry of a page: whatever has this form is a place in the list.
CURSOR_PATTERN = r"[0-9]{1,16}~[A-Za-z0-9_.-]{1,140}"
#: Entries of a page, and the most of one.
PAGE, MOST = 50, 500
_service_decoder = msgspec.json.Decoder(shapes.Service)


class UnknownError(Exception):
    """There is no such thing; the message names it."""


class AskedWronglyError(Exception):
    """A question cannot be answered; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which incidents or outages are asked for; None and nothing stand for all."""

    service: str | None = None
    region: str | None = None
    states: Sequence[str] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int = PAGE
    #: Where the page before ended, in the form of `CURSOR_PATTERN`.
    cursor: str | None = None


class Query:
    """Questions to the read model; each answer is of one state of it.

    Parameters
    ----------
    settings
        The deployment's settings; `web.database` is the file, and it must exist.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(Path(settings.web.database))
        self.bin_ms = settings.count.bin_ms

    def revision(self) -> tuple[str, int]:
        """Return the name of the read model and the number of its last change."""
        with self.database.reading() as db:
            return meta(db, "name"), int(meta(db, "revision"))

    def counts(self) -> tuple[int | None, int, int]:
        """Return the end of the newest judged bin, and how many services are watched and outages go on."""
        with self.database.reading() as db:
            newest = newest_ms(db)
            services = db.execute("SELECT count(*) FROM services WHERE bin_ms > ?", (self._since(newest),)).fetchone()[
                0
            ]
            open_ = db.execute("SELECT count(*) FROM outages WHERE state = 'open'").fetchone()[0]
            return None if newest is None else newest + self.bin_ms, services, open_

    def services(self, text: str = "", states: Sequence[str] = ()) -> shapes.Services:
        """Return the services, the worst first.

        Parameters
        ----------
        text
            What their names hold, in any case.
        states
            The states that are asked for; all if none is named.
        """
        with self.database.reading() as db:
            newest = newest_ms(db)
            found = db.execute(
                "SELECT summary, state FROM services WHERE bin_ms > ? AND instr(service, ?)"
                " ORDER BY rank, CASE WHEN rank < 2 THEN -window END, service",
                (self._since(newest), text.lower()),
            )
            services = [_service_decoder.decode(summary) for summary, state in found if not states or state in states]
        # where nothing is known of any, an outage that has not ended is what people look for
        services.sort(key=lambda each: (rows.rank(each.state), each.outage is None))
        return shapes.Services(judged_ms=None if newest is None else newest + self.bin_ms, services=services)

    def worded_since(self, revision: int) -> set[str]:
        """Return the services of which something else is said in words than at a revision."""
        with self.database.reading() as db:
            return {name for (name,) in db.execute("SELECT service FROM services WHERE worded > ?", (revision,))}

    def service(self, name: str) -> shapes.ServiceDetail:
        """Return a service with its regions and what is open.

        Raises
        ------
        UnknownError
            If it is not watched.
        """
        with self.database.reading() as db:
            found = db.execute(
                "SELECT summary, levels FROM services WHERE service = ? AND bin_ms > ?",
                (name, self._since(newest_ms(db))),
            ).fetchone()
            if found is None:
                raise UnknownError(f"no service {name!r} is watched")
            service, levels = _service_decoder.decode(found[0]), decode(found[1], Levels)
            open_ = db.execute(
                "SELECT document FROM incidents WHERE service = ? AND state = 'open' ORDER BY opened_ms, id", (name,)
            ).fetchall()
            outage = None if service.outage is None else self._document(db, "outages", service.outage)
        regions = [region_now(each, service.end_ms, self.settings) for each in levels.regions]
        return shapes.ServiceDetail(
            service=service,
            regions=sorted(regions, key=lambda each: (each.region != WHOLE_SERVICE, -each.window, each.region)),
            incidents=[decode(document, Incident) for (document,) in open_],
            outage=None if outage is None else decode(outage, Outage),
        )

    def incidents(self, asked: Filter) -> shapes.Incidents:
        """Return a page of incidents, newest first."""
        found, following = self._page("incidents", asked)
        return shapes.Incidents(incidents=[decode(each, Incident) for each in found], next=following)

    def incident(self, id_: str) -> shapes.IncidentDetail:
        """Return an incident with all of its transitions.

        Raises
        ------
        UnknownError
            If there is none of that id.
        """
        with self.database.reading() as db:
            transitions = db.execute(
                "SELECT document FROM transitions WHERE id = ? ORDER BY sequence", (id_,)
            ).fetchall()
        if not transitions:
            raise UnknownError(f"there is no incident {id_!r}")
        documents = [decode(document, Incident) for (document,) in transitions]
        return shapes.IncidentDetail(incident=documents[-1], transitions=documents)

    def outages(self, asked: Filter) -> shapes.Outages:
        """Return a page of outages, newest first."""
        found, following = self._page("outages", asked)
        return shapes.Outages(outages=[decode(each, Outage) for each in found], next=following)

    def outage(self, id_: str) -> shapes.OutageDetail:
        """Return an outage with all that has happened.

        Raises
        ------
        UnknownError
            If there is none of that id.
        """
        with self.database.reading() as db:
            document = self._document(db, "outages", id_)
            if document is None:
                raise UnknownError(f"there is no outage {id_!r}")
            changes = db.execute("SELECT document FROM changes WHERE id = ? ORDER BY sequence", (id_,)).fetchall()
            outage = decode(document, Outage)
            names = [incident for region in outage.regions for incident in region.incidents]
            timeline = [
                decode(transition, Incident)
                for name in names
                for (transition,) in db.execute("SELECT document FROM transitions WHERE id = ?", (name,))
            ]
        return shapes.OutageDetail(
            outage=outage,
            changes=list(_changes([decode(change, Outage) for (change,) in changes])),
            timeline=sorted(timeline, key=lambda each: (each.at_ms, each.id, each.sequence)),
        )

    def regions(self) -> list[str]:
        """Return all regions that services are watched in."""
        with self.database.reading() as db:
            found = db.execute("SELECT levels FROM services").fetchall()
            seen = {level.region for (levels,) in found for level in decode(levels, Levels).regions}
            seen |= {region for (region,) in db.execute("SELECT DISTINCT region FROM incidents")}
        return sorted(seen - {WHOLE_SERVICE})

    def _since(self, newest: int | None) -> int:
        """Return the start of the last bin that is too old for a service to be still watched."""
        return -1 if newest is None else newest - BINS_KEPT_MS

    def _document(self, db: sqlite3.Connection, table: str, id_: str) -> bytes | None:
        found = db.execute(f"SELECT document FROM {table} WHERE id = ?", (id_,)).fetchone()
        return None if found is None else bytes(found[0])

    def _page(self, table: str, asked: Filter) -> tuple[list[bytes], str | None]:
        """Return documents, newest first, and where the next page begins."""
        conditions: list[tuple[str, Sequence[Any]]] = []
        if asked.service is not None:
            conditions.append(("service = ?", [asked.service]))
        if asked.region is not None and table == "incidents":
            conditions.append(("region = ?", [asked.region]))
        if asked.region is not None and table == "outages":
            inside = "SELECT 1 FROM json_each(outages.document, '$.regions') WHERE json_extract(value, '$.region') = ?"
            conditions.append((f"EXISTS ({inside})", [asked.region]))
        if asked.states:
            conditions.append((f"state IN ({', '.join('?' * len(asked.states))})", asked.states))
        if asked.since_ms is not None:
            conditions.append(("opened_ms >= ?", [asked.since_ms]))
        if asked.until_ms is not None:
            conditions.append(("opened_ms < ?", [asked.until_ms]))
        if asked.cursor is not None:
            conditions.append(("(opened_ms, id) < (?, ?)", _uncovered(asked.cursor)))
        where = " AND ".join(condition for condition, _ in conditions) or "true"
        with self.database.reading() as db:
            found = db.execute(
                f"SELECT document, opened_ms, id FROM {table} WHERE {where} ORDER BY opened_ms DESC, id DESC LIMIT ?",
                [*(value for _, values in conditions for value in values), asked.limit + 1],
            ).fetchall()
        more = len(found) > asked.limit
        page = found[: asked.limit]
        return [document for document, _, _ in page], _cursor(*page[-1][1:]) if more else None


def _changes(documents: Sequence[Outage]) -> list[shapes.Change]:
    return [
        shapes.Change(
            sequence=each.sequence,
            at_ms=each.at_ms,
            state=each.state,
            number_of_reports=each.number_of_reports,
            total=each.total,
            regions=len(each.regions),
            correction=None if before is None else _correction(before, each),
        )
        for before, each in zip([None, *documents], documents, strict=False)
    ]


def _correction(before: Outage, after: Outage) -> str | None:
    """Return what a document takes back of the one before it, in words."""
    taken_back = []
    if before.state != "open" and after.state == "open":
        taken_back.append(
            "it was said to be over"
            if before.state == "cleared"
            else "it was said that whether it is over cannot be known"
        )
    if before.restored_ms is not None and after.restored_ms != before.restored_ms:
        restored = f"restored at {instant(before.restored_ms)}"
        taken_back.append(f"{restored}, after {duration(before.restored_ms - before.opened_ms)}")
    if after.number_of_reports < before.number_of_reports:
        taken_back.append(f"{before.number_of_reports:,} reports")
    if after.opened_ms != before.opened_ms:
        taken_back.append(f"begun at {instant(before.opened_ms)}")
    return "; ".join(taken_back) or None


def _cursor(opened_ms: int, id_: str) -> str:
    return f"{opened_ms}~{id_}"


def _uncovered(cursor: str) -> tuple[int, str]:
    opened_ms, _, id_ = cursor.partition("~")
    return int(opened_ms), id_
