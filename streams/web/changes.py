"""What has changed in the read model since a revision, as server-sent events: alike for who listens and who resumes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from streams.events import encode
from streams.web import rows, shapes
from streams.web.database import meta, newest_ms
from streams.web.query import Query

#: The most transitions that are told one by one; beyond it, fetching everything is shorter.
MOST_TRANSITIONS = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """A revision of a read model, as event ids say it: `5f0c1a2b.4711`."""

    model: str
    revision: int

    def __str__(self) -> str:
        return f"{self.model}.{self.revision}"


@dataclass(frozen=True, slots=True)
class Interest:
    """What somebody wants to be told: of which service (None: of all), and `brief`, that something has changed only."""

    service: str | None = None
    brief: bool = False


def place(text: str) -> Place | None:
    """Return the place that an event id says, None if it is no id of ours."""
    model, _, revision = text.rpartition(".")
    if not model or not revision.isascii() or not revision.isdigit() or len(revision) > 18:
        return None
    return Place(model, int(revision))


def event(name: str, data: bytes, id_: str | None = None) -> bytes:
    """Return a server-sent event."""
    identity = b"" if id_ is None else b"id: %b\n" % id_.encode()
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity, b"\ndata: ".join(data.splitlines()))


class Changes:
    """Tells what has changed.

    Parameters
    ----------
    query
        Where the read model is asked.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._bin_ms = query.bin_ms
        self._window_bins = query.settings.count.window_bins

    def here(self) -> Place:
        """Return where the read model is."""
        return Place(*self._query.revision())

    def now(self) -> tuple[Place, bytes]:
        """Return where the read model is, and the event that says so."""
        with self._query.database.reading() as db:
            here = Place(meta(db, "name"), int(meta(db, "revision")))
            return here, self._revision(here, newest_ms(db))

    def since(self, since: Place, interest: Interest = Interest()) -> tuple[Place, bytes]:
        """Return where the read model is, and the events from there to here; nothing if nothing has changed.

        Parameters
        ----------
        since
            What is known already.
        interest
            What is asked about. Of one service, the levels of its regions are told too.
        """
        service = interest.service
        with self._query.database.reading() as db:
            here = Place(meta(db, "name"), int(meta(db, "revision")))
            newest = newest_ms(db)
            if here.model != since.model or here.revision < since.revision:
                return here, self._reset("the read model was made anew", here, newest)
            if here.revision == since.revision:
                return here, b""
            condition = "revision > ?" if service is None else "revision > ? AND service = ?"
            values = (since.revision,) if service is None else (since.revision, service)
            if interest.brief:
                # what changes outages and levels changes what is said of their service
                changed = (
                    f"SELECT 1 FROM services WHERE {condition} UNION ALL SELECT 1 FROM transitions WHERE {condition}"
                )
                found = db.execute(f"{changed} LIMIT 1", values * 2).fetchone()
                return here, b"" if found is None else self._revision(here, newest)
            transitions = db.execute(
                f"SELECT document FROM transitions WHERE {condition} ORDER BY at_ms, id, sequence LIMIT ?",
                (*values, MOST_TRANSITIONS + 1),
            ).fetchall()
            if len(transitions) > MOST_TRANSITIONS:
                return here, self._reset("too much has happened since", here, newest)
            services = db.execute(f"SELECT summary FROM services WHERE {condition}", values).fetchall()
            outages = db.execute(f"SELECT document FROM outages WHERE {condition}", values).fetchall()
            levels = (
                []
                if service is None
                else db.execute(
                    "SELECT bin_ms, regions FROM levels WHERE service = ? AND revision > ? ORDER BY bin_ms",
                    (service, since.revision),
                ).fetchall()
            )
        parts = [event("levels", self._levels(str(service), bin_ms, packed)) for bin_ms, packed in levels]
        if services:
            parts.insert(0, event("services", b'{"services":[%b]}' % b",".join(summary for (summary,) in services)))
        parts += [event("incident", document) for (document,) in transitions]
        parts += [event("outage", document) for (document,) in outages]
        return here, b"".join((*parts, self._revision(here, newest)))

    def _levels(self, service: str, bin_ms: int, packed: bytes) -> bytes:
        regions = []
        for row in rows.unpack(packed):
            usual = row.usual(self._window_bins)
            regions.append(
                shapes.StreamedRegion(
                    region=row.region,
                    state=row.state,
                    count=row.count,
                    window=row.window,
                    expected=row.expected,
                    usual=usual,
                    ratio=rows.ratio(row.window, usual),
                    score=row.score,
                )
            )
        return encode(shapes.StreamedLevels(service=service, end_ms=bin_ms + self._bin_ms, regions=regions))

    def _revision(self, here: Place, newest: int | None) -> bytes:
        judged_ms = None if newest is None else newest + self._bin_ms
        return event(
            "revision", encode(shapes.StreamedRevision(revision=here.revision, judged_ms=judged_ms)), str(here)
        )

    def _reset(self, reason: str, here: Place, newest: int | None) -> bytes:
        return event("reset", msgspec.json.encode(shapes.StreamedReset(reason=reason))) + self._revision(here, newest)
