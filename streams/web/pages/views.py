"""What each page shows: the values of its template."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request

from streams.events import Incident, IncidentState, LevelState, Outage
from streams.outages import WHOLE_SERVICE
from streams.web.changes import place
from streams.web.pages.sentences import BLIND
from streams.web.query import AskedWronglyError, Filter
from streams.web.ranges import LENGTHS_MS
from streams.web.site import Site

RANGE = "1h"
#: Transitions of incidents that the page of a service goes back to while no outage goes on.
_INCIDENTS = 20
#: Outages on one page of the history.
_OUTAGES = 30


def overview(site: Site, request: Request) -> dict[str, Any]:
    """Return all services that are asked for, the worst first, and how many are in each state."""
    text = request.query_params.get("q", "")[:100]
    states = _states(request, get_args(LevelState))
    watched = site.query.services().services
    services = [each for each in watched if text.lower() in each.service]
    counts = {state: sum(each.state == state for each in services) for state in get_args(LevelState)}
    return {
        "services": [each for each in services if not states or each.state in states],
        "counts": counts,
        # the state that hides what happens to every service, if there is one
        "blind": next((state for state in BLIND if watched and all(each.state == state for each in watched)), None),
        "text": text,
        "states": states,
    }


def changes(site: Site, request: Request) -> dict[str, Any]:
    """Return the overview, and of which services other words are to be said than at the revision `after`."""
    known = place(request.query_params.get("after", ""))
    with site.query.database.reading():  # all of one state of things
        here = site.changes.here()
        values = overview(site, request)
        since = known.revision if known is not None and known.model == here.model else -1
        worded = site.query.worded_since(since if since <= here.revision else -1)
    fresh = [each for each in values["services"] if each.service in worded]
    return {**values, "after": here, "fresh": fresh}


def service(site: Site, request: Request) -> dict[str, Any]:
    """Return one service: as it is now, and what has happened to it."""
    range_ = request.query_params.get("range", RANGE)
    if range_ not in LENGTHS_MS:
        raise AskedWronglyError(f"range: must be one of {', '.join(LENGTHS_MS)}")
    detail = site.query.service(request.path_params["service"])
    name = detail.service.service
    if detail.outage is not None:
        transitions = site.query.outage(detail.outage.id).timeline
    else:
        found = site.query.incidents(Filter(service=name, limit=_INCIDENTS)).incidents
        transitions = [own for each in found for own in site.query.incident(each.id).transitions]
    past = site.query.outages(Filter(service=name, limit=6)).outages
    return {
        "detail": detail,
        "service": detail.service,
        # where an incident is open and evidence alone will tell that it is over: no limit is set, and some is weighed
        "endings": [
            each.region
            for each in detail.regions
            if each.incident is not None
            and each.clear_below is None
            and None not in (each.clear_score, each.clear_threshold)
        ],
        "ranges": list(LENGTHS_MS),
        "range": range_,
        "timeline": _by_time(transitions, newest_first=True),
        "past": [each for each in past if detail.outage is None or each.id != detail.outage.id],
    }


def outage(site: Site, request: Request) -> dict[str, Any]:
    """Return one outage with all that has happened."""
    detail = site.query.outage(request.path_params["id"])
    return {
        "outage": up_to_now(site, detail.outage),
        "corrections": [each for each in detail.changes if each.correction is not None],
        "timeline": _by_time(detail.timeline, newest_first=False),
    }


def history(site: Site, request: Request) -> dict[str, Any]:
    """Return a page of outages that have been, newest first."""
    name = request.query_params.get("service", "")[:100]
    region = request.query_params.get("region", "")[:100]
    states = _states(request, get_args(IncidentState))
    cursor = request.query_params.get("cursor") or None
    if cursor is not None and not _is_cursor(cursor):
        raise AskedWronglyError("cursor: must be one that the page before has given")
    page = site.query.outages(
        Filter(service=name or None, region=region or None, states=states, limit=_OUTAGES, cursor=cursor)
    )
    asked = [("service", name), ("region", region), *(("state", state) for state in states)]
    kept = [(key, value) for key, value in asked if value]
    return {
        "outages": [up_to_now(site, each) for each in page.outages],
        "following": None if page.next is None else f"/history?{urlencode([*kept, ('cursor', page.next)])}",
        "services": [each.service for each in site.query.services().services],
        "regions": site.query.regions(),
        "name": name,
        "region": region,
        "states": states,
        "filtered": bool(kept) or cursor is not None,
    }


def up_to_now(site: Site, outage: Outage) -> Outage:
    """Return an outage that goes on with the figures of now: its document is of its last transition."""
    if outage.state != "open":
        return outage
    series = site.ranges.outage(outage)
    counted = {own.region: own for own in series.regions}
    end_ms = outage.at_ms
    regions = []
    for region in outage.regions:
        own = counted.get(region.region)
        if own is not None and region.state == "open":
            for number, (count, window) in enumerate(zip(own.count, own.window, strict=True)):
                at_ms = series.start_ms + (number + 1) * series.step_ms
                if at_ms <= outage.at_ms or count is None or window is None:
                    continue
                end_ms = max(end_ms, at_ms)
                higher = {"peak": window, "peak_ms": at_ms} if window > region.peak else {}
                region = msgspec.structs.replace(region, total=region.total + count, **higher)
        regions.append(region)
    regions.sort(key=lambda each: (each.region == WHOLE_SERVICE, -each.peak, each.region))
    ranked = [each for each in regions if each.region != WHOLE_SERVICE] or regions
    return msgspec.structs.replace(
        outage,
        at_ms=end_ms,
        number_of_reports=ranked[0].peak,
        peak_region=ranked[0].region,
        peak_ms=ranked[0].peak_ms,
        most_affected=[each.region for each in ranked[: len(outage.most_affected)]],
        total=sum(each.total for each in ranked),
        regions=regions,
    )


def _is_cursor(text: str) -> bool:
    opened_ms, _, id_ = text.partition("~")
    return len(text) <= 160 and opened_ms.isascii() and opened_ms.isdigit() and bool(id_)


def _states(request: Request, known: tuple[str, ...]) -> list[str]:
    asked = request.query_params.getlist("state")
    for state in asked:
        if state not in known:
            raise AskedWronglyError(f"state: must be one of {', '.join(known)}")
    return sorted(set(asked))


def _by_time(transitions: Iterable[Incident], *, newest_first: bool) -> list[tuple[int, list[Incident]]]:
    """Return transitions by the time at which they were decided."""
    ordered = sorted(transitions, key=lambda each: (each.at_ms, -each.peak, each.id))
    groups = [(at_ms, list(own)) for at_ms, own in groupby(ordered, key=lambda each: each.at_ms)]
    return groups[::-1] if newest_first else groups
