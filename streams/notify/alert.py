"""What a pager should hear of an incident's transition."""

from __future__ import annotations

from streams.events import Alert, Incident, instant
from streams.incidents import span_in_words
from streams.names import region_name
from streams.settings import Settings


def alert(incident: Incident, settings: Settings) -> Alert | None:
    """Return the alert about a transition, None for one that need not wake anybody (`held`, `resumed`)."""
    if incident.transition == "held" or incident.transition == "resumed":
        return None
    return Alert(
        id=f"{incident.id}/{incident.sequence}",
        kind=incident.transition,
        service=incident.service,
        region=incident.region,
        incident=incident.id,
        at_ms=incident.at_ms,
        text=_text(incident, settings),
        peak=incident.peak,
        window=incident.decision.window,
    )


def _text(incident: Incident, settings: Settings) -> str:
    where = f"{incident.service} in {region_name(incident.region, settings)}"
    now = f"{incident.decision.window:,} reports in {span_in_words(settings.count.window_ms)}"
    match incident.transition:
        case "opened":
            return f"{where}: incident opened, {now} (since {instant(incident.opened_ms)})"
        case "grew":
            return f"{where}: incident has grown to {now}"
        case "cleared":
            return f"{where}: incident cleared, {now}; the peak was {incident.peak:,} at {instant(incident.peak_ms)}"
        case _:
            return f"{where}: state unknown, {incident.reason}"
