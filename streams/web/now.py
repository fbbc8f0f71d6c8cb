"""A service as it is now: its levels of the last bin and the outage that goes on, in one row of the overview."""

from __future__ import annotations

from streams.events import Level, Levels, Outage
from streams.outages import WHOLE_SERVICE
from streams.settings import Settings
from streams.web import rows, shapes

_NAMED = 3


def summarize(levels: Levels, outage: Outage | None, settings: Settings) -> shapes.Service:
    """Return what is to be said of a service.

    Parameters
    ----------
    levels
        Its newest ones.
    outage
        The one that goes on, if there is one.
    settings
        The deployment's settings.
    """
    window_bins = settings.count.window_bins
    parts = [each for each in levels.regions if each.region != WHOLE_SERVICE]
    total = rows.whole(levels.regions)
    usual = rows.usual(total.expected, window_bins)
    failing = sorted(
        (each for each in parts if each.incident is not None), key=lambda each: (-each.window, each.region)
    )
    return shapes.Service(
        service=levels.service,
        state=total.state,
        end_ms=levels.bin_ms + settings.count.bin_ms,
        count=total.count,
        window=total.window,
        usual=usual,
        ratio=rows.ratio(total.window, usual),
        regions=len(parts),
        open_regions=len(failing),
        learning_regions=sum(each.state == "learning" for each in parts),
        since_ms=None if outage is None else outage.opened_ms,
        outage=None if outage is None else outage.id,
        worst=[_worst(each, window_bins) for each in failing[:_NAMED]],
    )


def worded(service: shapes.Service) -> tuple[object, ...]:
    """Return what the words about a service are made of: its figures only where an incident is open."""
    figures = (service.window, service.ratio) if service.state == "open" or service.worst else None
    return service.state, service.learning_regions, service.since_ms, service.outage, service.worst, figures


def region_now(level: Level, end_ms: int, settings: Settings) -> shapes.RegionNow:
    """Return what is to be said of a region; `end_ms` is the end of the bin."""
    usual = rows.usual(level.expected, settings.count.window_bins)
    return shapes.RegionNow(
        region=level.region,
        state=level.state,
        end_ms=end_ms,
        count=level.count,
        window=level.window,
        expected=level.expected,
        usual=usual,
        ratio=rows.ratio(level.window, usual),
        score=level.score,
        score_threshold=level.score_threshold,
        clear_score=level.clear_score,
        clear_threshold=level.clear_threshold,
        raise_above=level.raise_above,
        clear_below=level.clear_below,
        incident=level.incident,
    )


def _worst(level: Level, window_bins: int) -> shapes.Worst:
    usual = rows.usual(level.expected, window_bins)
    return shapes.Worst(region=level.region, window=level.window, usual=usual, ratio=rows.ratio(level.window, usual))
