"""The last outages as an Atom feed, RFC 4287."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from streams.display import clock, day, duration
from streams.events import Outage
from streams.names import region_name
from streams.settings import Settings
from streams.web.query import Filter
from streams.web.site import Site

_NAMESPACE = "http://www.w3.org/2005/Atom"
_ENTRIES = 50


def atom(site: Site, address: str) -> str:
    """Return the feed.

    Parameters
    ----------
    site
        What is told of.
    address
        Where people find the site; ids are made of it, so `web.public_url` should name it.
    """
    settings = site.settings
    outages = site.query.outages(Filter(limit=_ENTRIES)).outages
    Xml.register_namespace("", _NAMESPACE)
    feed = Xml.Element(_name("feed"))
    _add(feed, "id", f"{address}/outages.atom")
    _add(feed, "title", f"{settings.web.title}: outages")
    # before the first outage there is nothing that could have changed
    _add(feed, "updated", _rfc3339(max((each.at_ms for each in outages), default=0)))
    _add(feed, "link", rel="self", type="application/atom+xml", href=f"{address}/outages.atom")
    _add(feed, "link", rel="alternate", type="text/html", href=f"{address}/history")
    _add(_add(feed, "author"), "name", settings.web.title)
    for outage in outages:
        entry = _add(feed, "entry")
        link = f"{address}/outages/{outage.id}"
        _add(entry, "id", link)
        _add(entry, "title", title(outage, settings))
        _add(entry, "published", _rfc3339(outage.opened_ms))
        _add(entry, "updated", _rfc3339(outage.at_ms))
        _add(entry, "link", rel="alternate", type="text/html", href=link)
        _add(entry, "category", term=outage.state)
        _add(entry, "summary", account(outage, settings))
    Xml.indent(feed)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{Xml.tostring(feed, encoding="unicode")}\n'


def title(outage: Outage, settings: Settings) -> str:
    """Return an outage as a headline."""
    state = {"open": "outage", "cleared": "outage, over", "unknown": "outage, end not known"}[outage.state]
    return f"{outage.service}: {state}, {_number(outage, settings)}"


def account(outage: Outage, settings: Settings) -> str:
    """Return what is to be said of an outage in a few sentences; times are in UTC."""
    places = ", ".join(region_name(each, settings) for each in outage.most_affected)
    sentences = [
        f"Began on {day(outage.opened_ms)} at {clock(outage.opened_ms)} UTC.",
        f"{_number(outage, settings)} at the peak, at {clock(outage.peak_ms)} UTC; {outage.total:,} reports in total.",
        f"Most affected: {places}.",
    ]
    if outage.restored_ms is not None and outage.time_to_restore_ms is not None:
        sentences.append(f"Restored at {clock(outage.restored_ms)} UTC, after {duration(outage.time_to_restore_ms)}.")
    elif outage.state == "unknown":
        sentences.append("Whether it is over cannot be known.")
    return " ".join(sentences)


def _number(outage: Outage, settings: Settings) -> str:
    window = duration(settings.count.window_ms)
    return f"{outage.number_of_reports:,} reports in {window} in {region_name(outage.peak_region, settings)}"


def _name(tag: str) -> str:
    return f"{{{_NAMESPACE}}}{tag}"


def _add(parent: Xml.Element, tag: str, text: str | None = None, **attributes: str) -> Xml.Element:
    element = Xml.SubElement(parent, _name(tag), attributes)
    element.text = text
    return element


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
