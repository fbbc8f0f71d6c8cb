"""Everything in short, in the shape of Statuspage's `summary.json`, which many clients and dashboards read.

Its words are a provider's own; here they are what reports tell. A service with an outage is `partial_outage`, or
`major_outage` where half of its regions or more have one. What is not known has no word in that shape: while the data
are not current there is no summary, and clients say that they could not get one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from streams.fields import said
from streams.web import shapes
from streams.web.feed import title
from streams.web.problems import NotKnownError
from streams.web.query import MOST, Filter
from streams.web.site import Site

ComponentStatus = Literal["operational", "partial_outage", "major_outage"]
Indicator = Literal["none", "minor", "major", "critical"]

_DESCRIPTIONS: dict[Indicator, str] = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major System Outage",
}
_Time = Annotated[str, said("RFC 3339.", format="date-time")]


class Page(msgspec.Struct, kw_only=True):
    """The status page."""

    id: str
    name: str
    url: str
    time_zone: str = "Etc/UTC"
    updated_at: _Time


class Component(msgspec.Struct, kw_only=True):
    """A service."""

    id: str
    name: str
    status: ComponentStatus
    created_at: _Time
    updated_at: _Time
    position: int
    description: str | None
    showcase: bool = False
    start_date: str | None = None
    group_id: str | None = None
    page_id: str
    group: bool = False
    only_show_if_degraded: bool = False


class AffectedComponent(msgspec.Struct, kw_only=True):
    """What an update says of a service."""

    code: str
    name: str
    old_status: str
    new_status: str


class Update(msgspec.Struct, kw_only=True):
    """A change of an outage."""

    id: str
    status: str
    body: str
    incident_id: str
    created_at: _Time
    updated_at: _Time
    display_at: _Time
    affected_components: list[AffectedComponent]
    deliver_notifications: bool = False
    custom_tweet: str | None = None
    tweet_id: str | None = None


class StatusIncident(msgspec.Struct, kw_only=True):
    """An outage that goes on."""

    id: str
    name: str
    status: str
    created_at: _Time
    updated_at: _Time
    monitoring_at: str | None = None
    resolved_at: str | None = None
    impact: Indicator
    shortlink: str
    started_at: _Time
    page_id: str
    incident_updates: Annotated[list[Update], said("Newest first.")]
    components: list[Component]
    reminder_intervals: str | None = None


class Overall(msgspec.Struct, kw_only=True):
    """All of it in a word."""

    indicator: Indicator
    description: str


class Summary(msgspec.Struct, kw_only=True):
    """Statuspage's summary: the page, its components, what goes on."""

    page: Page
    components: list[Component]
    incidents: list[StatusIncident]
    scheduled_maintenances: Annotated[list[StatusIncident], said("None: reports do not tell of any.")] = []
    status: Overall


def of(site: Site, address: str) -> Summary:
    """Return the summary.

    Parameters
    ----------
    site
        What is told of.
    address
        Where people find the site.

    Raises
    ------
    NotKnownError
        While the data are not current.
    """
    status = site.status()
    if status.state != "live" or status.judged_ms is None:
        raise NotKnownError(f"the data are not current: {status.reason or 'nothing has been judged yet'}")
    page = Page(
        id=site.settings.kafka.prefix, name=site.settings.web.title, url=address, updated_at=_iso(status.judged_ms)
    )
    with site.query.database.reading():
        services = sorted(site.query.services().services, key=lambda each: each.service)
        open_ = site.query.outages(Filter(states=["open"], limit=MOST)).outages
        components = {
            each.service: _component(each, position, page.id) for position, each in enumerate(services, start=1)
        }
        incidents = [_incident(site, site.query.outage(each.id), components.get(each.service), page) for each in open_]
    indicator = _indicator([each.status for each in components.values()])
    return Summary(
        page=page,
        components=list(components.values()),
        incidents=incidents,
        status=Overall(indicator=indicator, description=_DESCRIPTIONS[indicator]),
    )


def _component(service: shapes.Service, position: int, page: str) -> Component:
    hidden = {
        "unobserved": "No data at the moment.",
        "sensor-lost": "No reports arrive from anywhere at the moment.",
        "learning": "What is usual is not known yet.",
    }
    since_ms = service.since_ms if service.since_ms is not None else service.end_ms
    return Component(
        id=service.service,
        name=service.service,
        status=_status(service),
        created_at=_iso(since_ms),
        updated_at=_iso(service.end_ms),
        position=position,
        description=hidden.get(service.state),
        page_id=page,
    )


def _status(service: shapes.Service) -> ComponentStatus:
    if not service.open_regions:
        return "operational"
    return "major_outage" if 2 * service.open_regions >= service.regions else "partial_outage"


def _indicator(statuses: Sequence[ComponentStatus]) -> Indicator:
    failing = [each for each in statuses if each != "operational"]
    if not failing:
        return "none"
    if "major_outage" not in failing:
        return "minor"
    return "critical" if len(failing) == len(statuses) else "major"


def _incident(site: Site, detail: shapes.OutageDetail, component: Component | None, page: Page) -> StatusIncident:
    outage = detail.outage
    affected = []
    if component is not None:
        status = component.status
        affected = [
            AffectedComponent(code=component.id, name=component.name, old_status="operational", new_status=status)
        ]
    updates = [
        Update(
            id=f"{outage.id}/{change.sequence}",
            status="investigating",
            body=_body(change),
            incident_id=outage.id,
            created_at=_iso(change.at_ms),
            updated_at=_iso(change.at_ms),
            display_at=_iso(change.at_ms),
            affected_components=affected,
        )
        for change in reversed(detail.changes)
    ]
    return StatusIncident(
        id=outage.id,
        name=title(outage, site.settings),
        status="investigating",
        created_at=_iso(outage.opened_ms),
        updated_at=_iso(outage.at_ms),
        impact="major" if component is not None and component.status == "major_outage" else "minor",
        shortlink=f"{page.url}/outages/{outage.id}",
        started_at=_iso(outage.opened_ms),
        page_id=page.id,
        incident_updates=updates,
        components=[] if component is None else [component],
    )


def _body(change: shapes.Change) -> str:
    places = "1 region" if change.regions == 1 else f"{change.regions} regions"
    corrected = f" Corrected: {change.correction}." if change.correction else ""
    return f"{change.number_of_reports:,} reports at the peak of the most affected region, {places}.{corrected}"


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
