"""The API: a table of what can be asked, from which both the routes and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.events import encode
from streams.web import downloads, feed, parameters, shapes, summary
from streams.web.kept import Made, tagged, with_tag
from streams.web.parameters import IN_PATH, Asked, Parameter
from streams.web.query import PAGE, Filter
from streams.web.site import Site
from streams.web.summary import Summary

#: Says which state of the read model an answer is of: what a stream may begin after.
REVISION_HEADER = "tocsin-revision"

Answer = Callable[[Site, Asked, Request], Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked."""

    path: str
    name: str
    summary: str
    answer: Answer
    #: What the answer is: a type of `shapes`, or the media type of what is no JSON.
    gives: type[msgspec.Struct] | str
    parameters: Sequence[Parameter] = ()
    #: Whether it can be that there is no such thing.
    may_miss: bool = False
    #: Whether it is answered only while the data are current.
    may_not_know: bool = False
    cached: bool = True


_PAGED = (parameters.STATES, parameters.SINCE, parameters.UNTIL, parameters.LIMIT, parameters.CURSOR)
_OUTAGE = (IN_PATH["outage"],)


def _filter(asked: Asked) -> Filter:
    return Filter(
        service=asked["service"],
        region=asked["region"],
        states=asked["state"],
        since_ms=asked["since"],
        until_ms=asked["until"],
        limit=asked["limit"] or PAGE,
        cursor=asked["cursor"],
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "/api/v1/status",
        "status",
        "How current the answers are",
        lambda site, _, __: site.status(),
        shapes.Status,
        cached=False,
    ),
    Operation(
        "/api/v1/services",
        "services",
        "All services, the worst first",
        lambda site, asked, _: site.query.services(asked["q"] or "", asked["state"]),
        shapes.Services,
        (parameters.TEXT, parameters.LEVEL_STATES),
    ),
    Operation(
        "/api/v1/services/{service}",
        "service",
        "One service with its regions",
        lambda site, asked, _: site.query.service(asked["service"]),
        shapes.ServiceDetail,
        (IN_PATH["service"],),
        may_miss=True,
    ),
    Operation(
        "/api/v1/services/{service}/levels",
        "levels",
        "One service over time",
        lambda site, asked, _: site.ranges.levels(
            asked["service"], asked["range"] or "1h", asked["step"], asked["region"]
        ),
        shapes.LevelRange,
        (IN_PATH["service"], parameters.RANGE, parameters.STEP, parameters.REGIONS),
        may_miss=True,
    ),
    Operation(
        "/api/v1/sparklines",
        "sparklines",
        "The last day of all services, or of some",
        lambda site, asked, _: site.ranges.sparklines(asked["service"]),
        shapes.Sparklines,
        (parameters.SERVICES,),
    ),
    Operation(
        "/api/v1/regions",
        "regions",
        "Names of the regions",
        lambda site, asked, _: downloads.region_names(site, asked["lang"] or "en"),
        shapes.RegionNames,
        (parameters.LANGUAGE,),
    ),
    Operation(
        "/api/v1/incidents",
        "incidents",
        "Incidents, newest first",
        lambda site, asked, _: site.query.incidents(_filter(asked)),
        shapes.Incidents,
        (parameters.SERVICE, parameters.REGION, *_PAGED),
    ),
    Operation(
        "/api/v1/incidents/{id}",
        "incident",
        "One incident with its transitions",
        lambda site, asked, _: site.query.incident(asked["id"]),
        shapes.IncidentDetail,
        (IN_PATH["incident"],),
        may_miss=True,
    ),
    Operation(
        "/api/v1/outages",
        "outages",
        "Outages, newest first",
        lambda site, asked, _: site.query.outages(_filter(asked)),
        shapes.Outages,
        (parameters.SERVICE, parameters.REGION, *_PAGED),
    ),
    Operation(
        "/api/v1/outages/{id}.csv",
        "outageAsCsv",
        "What was counted around an outage, as CSV",
        lambda site, asked, _: downloads.csv(site, asked["id"]),
        "text/csv",
        _OUTAGE,
        may_miss=True,
    ),
    Operation(
        "/api/v1/outages/{id}.json",
        "outageAsJson",
        "All there is about an outage, as a file",
        lambda site, asked, _: downloads.download(site, asked["id"]),
        shapes.Download,
        _OUTAGE,
        may_miss=True,
    ),
    Operation(
        "/api/v1/outages/{id}.svg",
        "outageAsPicture",
        "A picture of an outage",
        lambda site, asked, _: downloads.picture(site, asked["id"]),
        "image/svg+xml",
        _OUTAGE,
        may_miss=True,
    ),
    Operation(
        "/api/v1/outages/{id}",
        "outage",
        "One outage with all that has happened",
        lambda site, asked, _: site.query.outage(asked["id"]),
        shapes.OutageDetail,
        _OUTAGE,
        may_miss=True,
    ),
    Operation(
        "/api/v1/outages/{id}/series",
        "outageSeries",
        "What was counted around an outage",
        lambda site, asked, _: site.ranges.outage(site.query.outage(asked["id"]).outage),
        shapes.OutageSeries,
        _OUTAGE,
        may_miss=True,
    ),
    Operation(
        "/api/v2/summary.json",
        "summary",
        "Everything in short, in the shape that clients of status pages read",
        lambda site, _, request: summary.of(site, site.address(request)),
        Summary,
        may_not_know=True,
    ),
    Operation(
        "/outages.atom",
        "feed",
        "The last outages as an Atom feed",
        lambda site, _, request: feed.atom(site, site.address(request)),
        "application/atom+xml",
    ),
)


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of all operations."""
    return [Route(operation.path, _endpoint(operation, site), name=operation.name) for operation in OPERATIONS]


def _endpoint(operation: Operation, site: Site) -> Callable[[Request], Response]:
    # no coroutine: each request has a thread to ask the read model in
    def answer(request: Request) -> Response:
        asked = parameters.read(request, operation.parameters)
        here = site.changes.here()
        headers = {REVISION_HEADER: str(here)}
        media_type = operation.gives if isinstance(operation.gives, str) else "application/json"
        if operation.name.startswith("outageAs"):
            suffix = operation.path.rpartition(".")[2]
            disposition = "inline" if suffix == "svg" else "attachment"
            headers["content-disposition"] = f'{disposition}; filename="{asked["id"]}.{suffix}"'

        def make() -> Made:
            found = operation.answer(site, asked, request)
            if isinstance(found, str):
                return Made(found.encode())
            more = isinstance(found, shapes.Incidents | shapes.Outages) and found.next is not None
            link = {"link": f'<{_following(request, found.next)}>; rel="next"'} if more else {}
            return Made(encode(found), link)

        if not operation.cached:
            return Response(make().body, headers={**headers, "cache-control": "no-store"}, media_type=media_type)
        if operation.may_not_know:  # that does not depend on the read model alone
            return tagged(request, with_tag(make()), media_type, headers)
        key = operation.name, request.url.path, request.url.query, site.address(request), here
        return tagged(request, site.kept.get(key, make), media_type, headers)

    answer.__name__ = operation.name
    return answer


def _following(request: Request, cursor: str) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.url.path}?{urlencode([*query, ('cursor', cursor)])}"
