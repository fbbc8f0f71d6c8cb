"""The roll-up of incidents into outages: one service, its regions ranked.

An incident belongs to the service's current outage if it opens while one of the outage's incidents is open, or at
most `merge_gap` after the last of them closed (exactly `merge_gap` still belongs); otherwise it starts a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from streams.events import WHOLE_SERVICE as WHOLE_SERVICE
from streams.events import Incident, IncidentState, Outage, OutageRegion, outage_id
from streams.incidents import Ongoing

_MOST_AFFECTED = 3


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What an outage keeps of an incident's last document; its fields are the incident's."""

    region: str
    state: IncidentState
    opened_ms: int
    below_since_ms: int | None
    closed_ms: int | None
    peak: int
    peak_ms: int
    total: int
    kinds: dict[str, int]


class Ledger(msgspec.Struct):
    """The current outage of one service, or its last one, with its incidents by id, first opened first.

    The same transitions give the same state, and the same bytes when it is encoded.
    """

    sequence: int = 0
    members: dict[str, Member] = {}

    def apply(
        self, incidents: Sequence[Incident], at_ms: int, merge_gap_ms: int, ongoing: Iterable[Ongoing] = ()
    ) -> Outage | None:
        """Enter all transitions of one bin; their order does not matter.

        Parameters
        ----------
        incidents
            The transitions of all regions of this ledger's service in one bin.
        at_ms
            End of the bin.
        merge_gap_ms
            The longest time between a closing and an opening within one outage, in milliseconds.
        ongoing
            The open incidents as of this bin: what they have come to since their last transition.

        Returns
        -------
        Outage or None
            The outage after this bin; None if there was no transition.
        """
        if not incidents:
            return None
        for incident in sorted(incidents, key=lambda incident: (incident.region, incident.sequence)):
            if incident.transition == "opened" and not self._takes(incident.opened_ms, merge_gap_ms):
                self.sequence, self.members = 0, {}
            self.members[incident.id] = _member(incident)
        for each in ongoing:
            self.members[each.id] = msgspec.structs.replace(
                self.members[each.id], peak=each.peak, peak_ms=each.peak_ms, total=each.total, kinds=each.kinds
            )
        self.sequence += 1
        return self._document(incidents[0].service, at_ms)

    def _takes(self, opened_ms: int, merge_gap_ms: int) -> bool:
        return any(
            member.closed_ms is None or opened_ms - member.closed_ms <= merge_gap_ms for member in self.members.values()
        )

    def _document(self, service: str, at_ms: int) -> Outage:
        by_region: dict[str, dict[str, Member]] = {}
        for name, member in self.members.items():
            by_region.setdefault(member.region, {})[name] = member
        regions = sorted((_region(region, members) for region, members in by_region.items()), key=_rank)
        # The reports of the whole service are those of its regions over again.
        counted = [region for region in regions if region.region != WHOLE_SERVICE] or regions
        first = counted[0]
        names = {region.region for region in counted}
        members = [member for member in self.members.values() if member.region in names]
        state = _state(region.state for region in regions)
        opened_ms = min(region.opened_ms for region in counted)
        restored_ms = _restored_ms(members) if state == "cleared" else None
        return Outage(
            # by the first of all incidents: the regions of an outage that began as the whole service's come later
            id=outage_id(service, min(region.opened_ms for region in regions)),
            sequence=self.sequence,
            service=service,
            state=state,
            at_ms=at_ms,
            opened_ms=opened_ms,
            restored_ms=restored_ms,
            number_of_reports=first.peak,
            peak_region=first.region,
            peak_ms=first.peak_ms,
            most_affected=[region.region for region in counted[:_MOST_AFFECTED]],
            total=sum(region.total for region in counted),
            kinds=_shares(member.kinds for member in members),
            regions=regions,
            time_to_restore_ms=None if restored_ms is None else restored_ms - opened_ms,
            # The highest window may be among those that clear: then nothing lies between the two.
            peak_to_clear_ms=None if restored_ms is None else max(0, restored_ms - first.peak_ms),
        )


def superseded(outage: Outage, at_ms: int) -> Outage:
    """Return the document that ends an open outage which a rebuilt state does not know.

    Parameters
    ----------
    outage
        Its last document.
    at_ms
        End of the first bin that the rebuilt state judges: when its open incidents become `unknown`.
    """
    return msgspec.structs.replace(
        outage,
        sequence=outage.sequence + 1,
        state="unknown",
        at_ms=at_ms,
        regions=[
            msgspec.structs.replace(region, state="unknown", closed_ms=at_ms) if region.state == "open" else region
            for region in outage.regions
        ],
    )


def _member(incident: Incident) -> Member:
    return Member(
        region=incident.region,
        state=incident.state,
        opened_ms=incident.opened_ms,
        below_since_ms=incident.below_since_ms,
        closed_ms=incident.closed_ms,
        peak=incident.peak,
        peak_ms=incident.peak_ms,
        total=incident.total,
        kinds=incident.kinds,
    )


def _region(region: str, members: dict[str, Member]) -> OutageRegion:
    """Return the line of one region; its incidents are in order of opening, and only the last can be open."""
    *_, last = members.values()
    highest = max(members.values(), key=lambda member: member.peak)
    return OutageRegion(
        region=region,
        state=last.state,
        peak=highest.peak,
        peak_ms=highest.peak_ms,
        total=sum(member.total for member in members.values()),
        opened_ms=min(member.opened_ms for member in members.values()),
        closed_ms=last.closed_ms,
        incidents=list(members),
    )


def _rank(region: OutageRegion) -> tuple[bool, int, str]:
    return region.region == WHOLE_SERVICE, -region.peak, region.region


def _state(regions: Iterable[IncidentState]) -> IncidentState:
    """Return the state of the whole: open while one region is, else unknown if one region's end is."""
    states = set(regions)
    if "open" in states:
        return "open"
    return "unknown" if "unknown" in states else "cleared"


def _restored_ms(members: Iterable[Member]) -> int:
    return max(member.below_since_ms for member in members if member.below_since_ms is not None)


def _shares(counts: Iterable[dict[str, int]]) -> dict[str, float]:
    reports: Counter[str] = Counter()
    for kinds in counts:
        reports.update(kinds)
    ranked = sorted(reports.items(), key=lambda item: (-item[1], item[0]))
    return {kind: float(f"{count / reports.total():.4g}") for kind, count in ranked}
