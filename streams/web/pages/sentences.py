"""What is happening, in one sentence; and the words for states, transitions and kinds."""

from __future__ import annotations

from markupsafe import Markup

from streams.events import Incident
from streams.outages import WHOLE_SERVICE
from streams.settings import Settings
from streams.web.pages.languages import DEFAULT, Language
from streams.web.shapes import Service


def _(message: str) -> str:
    """Mark a message for translation where it stands; it is translated where it is said."""
    return message


STATES = {
    "open": _("Outage"),
    "held": _("Uncertain"),
    "learning": _("Learning"),
    "normal": _("Normal"),
    "unobserved": _("Not known"),
    "sensor-lost": _("Sensor lost"),
}
#: The states in which nothing can be said of a service.
BLIND = ("sensor-lost", "unobserved")
OUTAGE_STATES = {"open": _("Going on"), "cleared": _("Over"), "unknown": _("End not known")}
TRANSITIONS = {
    "opened": _("Opened"),
    "grew": _("Grew"),
    "held": _("Held"),
    "resumed": _("Resumed"),
    "cleared": _("Cleared"),
    "unknown": _("Not known"),
}
KINDS = {
    "": _("none given"),
    "app": _("App"),
    "website": _("Website"),
    "server-connection": _("Server connection"),
    "login": _("Login"),
    "other": _("Other"),
}
#: What each state means, without figures.
_PLAIN = {
    "held": _("Reports may be missing, so that an end would not be seen"),
    "learning": _("Learning what is usual; nothing can be said yet"),
    "normal": _("No more reports than usual"),
    "unobserved": _("Not known: reports of the last minutes may be missing"),
    "sensor-lost": _("No reports arrive from anywhere; nothing can be said"),
}
#: Why transitions are decided, by the rule.
_REASONS = {
    "raise": _("%(reports)s in %(window)s, %(count)s of them in the last bin; the limit is %(floor)s"),
    "raise_scored": _(
        "%(reports)s in %(window)s, %(count)s of them in the last bin where %(expected)s are expected; "
        "raised by %(detector)s, score %(score)s, threshold %(threshold)s"
    ),
    "grow": _("%(reports)s in %(window)s, at least twice the number last announced"),
    "incomplete": _("reports of the last %(window)s may be missing; cannot clear before all bins are complete"),
    "silent": _("no reports from anywhere in the last bin; cannot clear before all bins of %(window)s are complete"),
    "complete": _("all bins of the last %(window)s are complete"),
    "clear_below": _("%(reports)s in %(window)s, below %(limit)s"),
    "clear_level": _("%(reports)s in %(window)s, below %(limit)s per bin"),
    "clear_learning": _(
        "%(reports)s in %(window)s, far enough below the limit of %(floor)s; the usual is still learnt"
    ),
    "clear_score": _("%(reports)s in %(window)s; evidence for the end %(ending)s, threshold %(enough)s"),
    "rebaselined": _(
        "%(reports)s in %(window)s; the level of the last 24 hours is taken for the usual one from now on; "
        "whether the outage is over cannot be known"
    ),
    "sensor-lost": _("no reports from anywhere for too long; whether the incident is over cannot be known"),
    "unobserved": _("too many bins in a row not observed; whether the incident is over cannot be known"),
    "superseded": _("the state was rebuilt without this incident; its numbers are those of its last transition"),
}


def happening(service: Service, language: Language, settings: Settings) -> Markup:
    """Return one sentence about a service as it is now.

    Parameters
    ----------
    service
        The service.
    language
        Of the sentence.
    settings
        The deployment's: names of regions and the length of a window come from them.
    """
    if service.state != "open":
        said = language.say(_PLAIN[service.state])
        if service.state == "held" and service.worst:
            said = language.say("%(what)s: %(how)s", what=said, how=_figures(service, language, settings))
        elif service.state in BLIND and service.since_ms is not None:
            since = language.time(service.since_ms)
            said = language.say("%(what)s; the outage since %(time)s has not been seen to end", what=said, time=since)
        elif service.state == "normal" and service.learning_regions:
            said = language.count(
                "%(what)s; still learning in %(n)s region",
                "%(what)s; still learning in %(n)s regions",
                service.learning_regions,
                what=said,
            )
        return language.say("%(sentence)s.", sentence=said)
    return language.say("%(sentence)s.", sentence=_figures(service, language, settings))


def usually(service: Service, language: Language) -> Markup:
    """Return what is usual for a service, in words."""
    if service.usual is None:
        return language.say("usual not known")
    return language.say("usually %(n)s", n=language.number(service.usual))


def _figures(service: Service, language: Language, settings: Settings) -> Markup:
    window = language.length(settings.count.window_ms)
    worst = service.worst[0] if service.worst else None
    named = [each.region for each in service.worst if each.region != WHOLE_SERVICE]
    if worst is None or worst.region == WHOLE_SERVICE:
        reports = service.window if worst is None else worst.window
        said = language.say("%(reports)s in %(window)s", reports=language.reports(reports), window=window)
        ratio = service.ratio if worst is None else worst.ratio
    else:
        place = language.region_within(worst.region, settings)
        said = language.say(
            "%(reports)s in %(window)s in %(place)s",
            reports=language.reports(worst.window),
            window=window,
            place=place,
        )
        ratio = worst.ratio
    if ratio is not None:
        said = language.say("%(what)s, %(ratio)s", what=said, ratio=language.multiple(ratio))
    if service.since_ms is not None:
        said = language.say("%(what)s; since %(time)s", what=said, time=language.time(service.since_ms))
    if len(named) > 1:
        places = language.listed(language.region_within(each, settings) for each in named)
        said = language.say("%(what)s, worst in %(places)s", what=said, places=places)
    return said


def reason(incident: Incident, language: Language, settings: Settings) -> Markup | str:
    """Return why a transition was decided: in English as detect has stated it, else from its rule and its numbers.

    Parameters
    ----------
    incident
        The incident after the transition.
    language
        Of the words.
    settings
        The deployment's: the length of a window comes from them.
    """
    decision = incident.decision
    scored = decision.rule == "raise" and decision.score is not None
    message = _REASONS.get("raise_scored" if scored else decision.rule)
    if language.code == DEFAULT:
        return incident.reason
    if message is None:  # of a newer detect
        return Markup('<span lang="en" dir="ltr">{}</span>').format(incident.reason)
    limit = decision.clear_below if decision.clear_below is not None else decision.clear_level
    return language.say(
        message,
        reports=language.reports(decision.window),
        window=language.length(settings.count.window_ms),
        count=language.number(decision.count),
        expected=language.number(decision.expected or 0, 2),
        score=language.number(decision.score or 0, 1),
        threshold=language.number(decision.score_threshold or 0, 1),
        detector=decision.detector,
        limit=language.number(limit or 0, 1),
        floor=language.number(decision.raise_above or 0),
        ending=language.number(decision.clear_score or 0, 1),
        enough=language.number(decision.clear_threshold or 0, 1),
    )


def kind_name(kind: str, language: Language) -> str:
    """Return what people call a kind of reports."""
    return language.words.gettext(KINDS[kind]) if kind in KINDS else kind.replace("-", " ")
