"""An outage as a file: CSV of what was counted, JSON of everything, a picture; and the names of regions."""

from __future__ import annotations

import csv as csv_
import io
from datetime import UTC, datetime

from babel import Locale, UnknownLocaleError

from streams.settings import Settings
from streams.web import shapes
from streams.web.picture import draw
from streams.web.site import Site

_CSV_COLUMNS = ("time", "region", "reports", "window", "usual", "state")
_FALLBACK = "en"


def download(site: Site, id_: str) -> shapes.Download:
    """Return all there is about an outage.

    Raises
    ------
    UnknownError
        If there is none of that id.
    """
    detail = site.query.outage(id_)
    return shapes.Download(
        outage=detail.outage,
        changes=detail.changes,
        timeline=detail.timeline,
        series=site.ranges.outage(detail.outage),
    )


def csv(site: Site, id_: str) -> str:
    """Return what was counted around an outage: a line for each bin and region, times being starts of bins in UTC.

    Raises
    ------
    UnknownError
        If there is none of that id.
    """
    series = site.ranges.outage(site.query.outage(id_).outage)
    text = io.StringIO()
    writer = csv_.writer(text)
    writer.writerow(_CSV_COLUMNS)
    times = [_iso(series.start_ms + number * series.step_ms) for number in range(series.length)]
    for own in series.regions:
        for time, count, window, usual, state in zip(times, own.count, own.window, own.usual, own.state, strict=True):
            if count is not None:
                writer.writerow((time, own.region, count, window, "" if usual is None else usual, state))
    return text.getvalue()


def picture(site: Site, id_: str) -> str:
    """Return a picture of an outage as SVG.

    Raises
    ------
    UnknownError
        If there is none of that id.
    """
    outage = site.query.outage(id_).outage
    return draw(outage, site.ranges.outage(outage), site.settings)


def region_names(site: Site, language: str) -> shapes.RegionNames:
    """Return what people who speak a language call the regions: as the settings say, else the Unicode CLDR."""
    locale = _locale(language)
    return shapes.RegionNames(
        language=str(locale).replace("_", "-"),
        regions={code: _region_name(code, locale, site.settings) for code in site.query.regions()},
    )


def _region_name(code: str, locale: Locale, settings: Settings) -> str:
    own = settings.regions.get(code)
    # a name that is the CLDR's in English is no name of the deployment's own
    if own is not None and own.name is not None and own.name != Locale(_FALLBACK).territories.get(code):
        return own.name
    name: str = locale.territories.get(code, code)
    return name


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale(_FALLBACK)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
