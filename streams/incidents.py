"""The state machine of one service in one region: judged bins in, transitions of its incident out.

`TABLE` is the machine. Which events a bin gives rise to is decided by `Machine.step` from what the detector saw
and what the policy allows; every move along the table is one document, numbered within its incident.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from streams.events import (
    MINUTE_MS,
    Decision,
    Incident,
    IncidentState,
    Transition,
    figure,
    incident_id,
    instant,
)
from streams.policy import EXPECTED_MARGIN, RAISE_OVER_CLEAR_PERCENT, Limits

State = Literal["idle", IncidentState]
Event = Literal["raised", "doubled", "incomplete", "complete", "fell", "lost", "rebaselined", "superseded"]
#: Why nothing can be known of an incident any more: no report arrives from anywhere, or bins were not observed.
Loss = Literal["sensor-lost", "gap"]

#: What each event does in each state; pairs that are not listed change nothing. `cleared` and `unknown` end the
#: incident: its key is idle again, and may open another one from the next bin on.
TABLE: Final[Mapping[tuple[State, Event], tuple[IncidentState, Transition]]] = {
    ("idle", "raised"): ("open", "opened"),
    ("open", "doubled"): ("open", "grew"),
    ("open", "incomplete"): ("open", "held"),
    ("open", "complete"): ("open", "resumed"),
    ("open", "fell"): ("cleared", "cleared"),
    ("open", "lost"): ("unknown", "unknown"),
    ("open", "rebaselined"): ("unknown", "unknown"),
    ("open", "superseded"): ("unknown", "unknown"),
}


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One judged bin of one service and region, as counted and as seen by the detector.

    `count` and `kinds` are the reports of the bin `[bin_ms, bin_end_ms)`, `window` those of the window that ends
    with it. `expected` and `clear_level` are reports per bin; they and the scores are NaN where the detector has
    none, `figures` are its further ones. `learning` says that it has too little history, and that the policy's limit
    has raised what is raised; `rebaselined` that it has just taken the incident's level for the usual one.
    `whole_bins` is the number of bins in a row, up to this one, whose counts hold all reports (see `streams.sensor`);
    `silent` says that no report arrived from anywhere although some are expected, `lost` that this, or bins that no
    source covers, has lasted too long.
    """

    bin_ms: int
    bin_end_ms: int
    count: int
    window: int
    kinds: Mapping[str, int]
    raised: bool
    expected: float
    score: float
    score_threshold: float
    clear_level: float
    clear_score: float = math.nan
    clear_threshold: float = math.nan
    rebaselined: bool = False
    learning: bool = False
    figures: Mapping[str, float] = {}
    detector: str
    whole_bins: int
    silent: bool
    lost: Loss | None = None


class Ongoing(msgspec.Struct, kw_only=True):
    """What is remembered of an incident while it is open.

    The reports that led to the opening lie before the opening bin: they are in `peak`, a window count, but not in
    `total`.
    """

    id: str
    opened_ms: int
    sequence: int = 0
    held: bool = False
    announced_peak: int
    peak: int
    peak_ms: int
    total: int = 0
    kinds: dict[str, int] = {}
    windows_below: int = 0
    below_since_ms: int | None = None

    def add(self, bin_: Observation, limits: Limits, window_bins: int) -> None:
        """Take in a bin: reports, peak, and whether its window counts towards clearing."""
        self.total += bin_.count
        kinds = {kind: self.kinds.get(kind, 0) + count for kind, count in bin_.kinds.items() if count}
        # Sorted, so that the same history gives the same snapshot.
        self.kinds = dict(sorted((self.kinds | kinds).items()))
        if bin_.window > self.peak:
            self.peak, self.peak_ms = bin_.window, bin_.bin_end_ms
        if _weighs(bin_, limits):
            self.windows_below = 0
            if not bin_.clear_score > 0:
                self.below_since_ms = None
            elif self.below_since_ms is None:
                self.below_since_ms = bin_.bin_end_ms
            return
        below = bin_.window < limits.clear_limit(bin_.expected, bin_.clear_level, window_bins, learning=bin_.learning)
        # A window that would raise does not clear, else the incident would open and clear in turns.
        if below and bin_.whole_bins >= window_bins and not limits.raises(bin_.raised, bin_.window):
            self.windows_below += 1
            if self.windows_below == 1:
                self.below_since_ms = bin_.bin_end_ms
        else:
            self.windows_below, self.below_since_ms = 0, None

    def events(self, bin_: Observation, limits: Limits, window_bins: int) -> Iterator[tuple[Event, str]]:
        """Yield the events of a bin that has been added, in order, each with the rule it follows from."""
        if bin_.lost is not None:
            yield "lost", bin_.lost
            return
        if bin_.rebaselined:
            yield "rebaselined", "rebaselined"
            return
        if limits.raises(bin_.raised, bin_.window):
            yield "raised", "raise"
        if bin_.window >= 2 * self.announced_peak:
            yield "doubled", "grow"
        complete = bin_.whole_bins >= window_bins
        if not complete and not self.held:
            yield "incomplete", "silent" if bin_.silent else "incomplete"
        if complete and self.held:
            yield "complete", "complete"
        open_bins = (bin_.bin_end_ms - self.opened_ms) // (bin_.bin_end_ms - bin_.bin_ms)
        if open_bins < limits.min_open_bins:
            return
        if _weighs(bin_, limits):
            if complete and bin_.clear_score >= bin_.clear_threshold:
                yield "fell", "clear_score"
        elif self.windows_below >= limits.clear_windows:
            own = "clear_learning" if bin_.learning else "clear_level"
            yield "fell", own if limits.clear_below is None else "clear_below"


class Machine(msgspec.Struct):
    """The state of one service in one region: its open incident, if it has one.

    The same observations give the same state, and the same bytes when it is encoded.
    """

    incident: Ongoing | None = None

    def step(
        self, observation: Observation, limits: Limits, service: str, region: str, window_bins: int
    ) -> list[Incident]:
        """Judge one bin; bins come in order.

        Held is an incident whose window holds a bin that is not whole: it can grow, but not clear. It resumes with the
        first complete window.

        Parameters
        ----------
        observation
            The bin.
        limits
            The policy's, for this service and region.
        window_bins
            Number of bins in a window.

        Returns
        -------
        list of Incident
            The transitions of this bin in order; usually none.
        """
        state: State = "open"
        incident = self.incident
        if incident is None:
            if not limits.raises(observation.raised, observation.window):
                return []
            state, incident = "idle", _new(observation, service, region)
        incident.add(observation, limits, window_bins)
        documents: list[Incident] = []
        for event, rule in incident.events(observation, limits, window_bins):
            move = TABLE.get((state, event))
            if move is None:
                continue
            state, transition = move
            reason = _reason(rule, incident, observation, limits, window_bins)
            incident.sequence += 1
            incident.held = {"held": True, "resumed": False}.get(transition, incident.held)
            if transition == "grew":
                incident.announced_peak = incident.peak
            documents.append(
                Incident(
                    id=incident.id,
                    sequence=incident.sequence,
                    service=service,
                    region=region,
                    transition=transition,
                    state=state,
                    held=incident.held,
                    reason=reason,
                    at_ms=observation.bin_end_ms,
                    opened_ms=incident.opened_ms,
                    below_since_ms=incident.below_since_ms if state == "cleared" else None,
                    closed_ms=None if state == "open" else observation.bin_end_ms,
                    peak=incident.peak,
                    peak_ms=incident.peak_ms,
                    total=incident.total,
                    kinds=incident.kinds,
                    decision=_decision(rule, observation, limits, window_bins),
                )
            )
        self.incident = incident if state == "open" else None
        return documents


def superseded(incident: Incident, at_ms: int) -> Incident:
    """Return the document that ends an open incident which a rebuilt state does not know.

    Parameters
    ----------
    incident
        Its last document; the decision and the numbers of the new one are taken from it.
    at_ms
        End of the first bin that the rebuilt state judges.
    """
    state, transition = TABLE[incident.state, "superseded"]
    return msgspec.structs.replace(
        incident,
        sequence=incident.sequence + 1,
        transition=transition,
        state=state,
        reason="the state was rebuilt without this incident; its numbers are those of its last transition",
        at_ms=at_ms,
        closed_ms=at_ms,
        decision=msgspec.structs.replace(incident.decision, rule="superseded"),
    )


def _new(bin_: Observation, service: str, region: str) -> Ongoing:
    return Ongoing(
        id=incident_id(service, region, bin_.bin_ms),
        opened_ms=bin_.bin_ms,
        announced_peak=bin_.window,
        peak=bin_.window,
        peak_ms=bin_.bin_end_ms,
    )


def _weighs(bin_: Observation, limits: Limits) -> bool:
    """Whether evidence alone tells that an incident is over: the detector weighs some, and no limit is set."""
    return limits.clear_below is None and not bin_.learning and not math.isnan(bin_.clear_score)


def _decision(rule: str, bin_: Observation, limits: Limits, window_bins: int) -> Decision:
    return Decision(
        rule=rule,
        detector=bin_.detector,
        bin_ms=bin_.bin_ms,
        count=bin_.count,
        window=bin_.window,
        window_bins=window_bins,
        expected=figure(bin_.expected),
        score=figure(bin_.score),
        score_threshold=figure(bin_.score_threshold),
        clear_level=figure(bin_.clear_level),
        clear_score=figure(bin_.clear_score),
        clear_threshold=figure(bin_.clear_threshold),
        figures={name: figure(value) for name, value in bin_.figures.items()},
        raise_above=limits.raise_above,
        clear_below=limits.clear_below,
    )


def _reason(rule: str, incident: Ongoing, bin_: Observation, limits: Limits, window_bins: int) -> str:
    """Return the decision in words; `incident` is as it was just before the transition."""
    span = span_in_words(window_bins * (bin_.bin_end_ms - bin_.bin_ms))
    window = f"{bin_.window:,} {'report' if bin_.window == 1 else 'reports'} in {span}"
    match rule:
        case "raise":
            return f"{window}{_floor(limits)}; {bin_.count:,} in the last bin; {_sighting(bin_)}"
        case "grow":
            return f"{window}, at least twice the {incident.announced_peak:,} last announced"
        case "incomplete":
            return f"reports of the last {span} may be missing; cannot clear before all its bins are complete"
        case "silent":
            return f"no reports from anywhere in the last bin; cannot clear before all bins of {span} are complete"
        case "complete":
            return f"all bins of the last {span} are complete"
        case "clear_score":
            return f"{window}; {_ending(incident, bin_)}"
        case "clear_below" | "clear_level" | "clear_learning":
            return f"{window}, below {_clear_limit(bin_, limits, window_bins)}; {_row(incident)}"
        case "rebaselined":
            taken = "the level of the last 24 hours is taken for the usual one from now on"
            return f"{window}; {taken}; whether the outage is over cannot be known"
        case "sensor-lost":
            return "no reports from anywhere for too long; whether the incident is over cannot be known"
        case _:
            return "too many bins in a row not observed; whether the incident is over cannot be known"


def _floor(limits: Limits) -> str:
    return "" if limits.raise_above is None else f", at least {limits.raise_above:,}"


def _sighting(bin_: Observation) -> str:
    expected = "" if math.isnan(bin_.expected) else f", {_number(bin_.expected)} expected"
    score = "" if math.isnan(bin_.score) else f", score {_number(bin_.score)}"
    threshold = "" if math.isnan(bin_.score_threshold) else f", threshold {_number(bin_.score_threshold)}"
    return f"raised by {bin_.detector}{expected}{score}{threshold}"


def _ending(incident: Ongoing, bin_: Observation) -> str:
    since = "" if incident.below_since_ms is None else f", there since {instant(incident.below_since_ms)}"
    return f"evidence for the end {_number(bin_.clear_score)}, threshold {_number(bin_.clear_threshold)}{since}"


def _clear_limit(bin_: Observation, limits: Limits, window_bins: int) -> str:
    limit = limits.clear_limit(bin_.expected, bin_.clear_level, window_bins, learning=bin_.learning)
    if limits.clear_below is None and bin_.learning:
        return f"{_number(limit)} (what raises, over {RAISE_OVER_CLEAR_PERCENT / 100}, while the usual level is learnt)"
    if limits.clear_below is None:
        return f"{_number(limit)} ({_number(bin_.clear_level)} a bin)"
    if limit > limits.clear_below:
        return f"{_number(limit)} ({EXPECTED_MARGIN} times the expected {_number(bin_.expected)} a bin)"
    return f"{limits.clear_below:,}"


def _row(incident: Ongoing) -> str:
    first = "" if incident.below_since_ms is None else f", the first ending {instant(incident.below_since_ms)}"
    return f"windows in a row: {incident.windows_below}{first}"


def _number(value: float) -> str:
    # Rounded as in facts, then in plain notation: `g` alone writes 12,000 as 1.2e+04.
    return f"{float(f'{value:.4g}'):,.12g}"


def span_in_words(duration_ms: int) -> str:
    """Return a length of time in words: `15 minutes`, `20 seconds`."""
    unit, name = (MINUTE_MS, "minute") if duration_ms % MINUTE_MS == 0 else (1000, "second")
    amount = duration_ms // unit
    return f"{amount} {name}{'' if amount == 1 else 's'}"
