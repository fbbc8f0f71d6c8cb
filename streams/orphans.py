"""Open incidents of an earlier life that the rebuilt state does not know: without a word they would stay open for ever.

That happens only where snapshots were lost. A restart that has them opens, or holds, every incident again.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams import incidents, outages
from streams.detection import Detection, Fact, Judgement
from streams.events import Event, Incident, Outage, decode, encode
from streams.versions import VersionError


class Orphans:
    """The open incidents of one partition, until it is known whether the rebuilt state has them.

    Parameters
    ----------
    incident_records, outage_records
        Key and value of every record of the partition in the incidents and outages topics, in log order.

    Raises
    ------
    VersionError
        If a document is of a version that this Tocsin does not know; the message names its key.
    msgspec.DecodeError
        If a record is none.
    """

    def __init__(
        self,
        incident_records: Iterable[tuple[bytes, bytes | None]],
        outage_records: Iterable[tuple[bytes, bytes | None]],
    ) -> None:
        latest: dict[str, Incident] = {}
        for key, value in incident_records:
            if value is not None:
                incident = _document(key, value, Incident)
                if incident.id not in latest or latest[incident.id].sequence < incident.sequence:
                    latest[incident.id] = incident
        self._open = {name: incident for name, incident in latest.items() if incident.state == "open"}
        self._outages: dict[str, Outage] = {}
        services = {incident.service for incident in self._open.values()}
        for key, value in outage_records:
            if value is not None:
                outage = _document(key, value, Outage)
                if outage.service not in services:
                    continue
                known = self._outages.get(outage.service)
                if known is None or (known.opened_ms, known.sequence) < (outage.opened_ms, outage.sequence):
                    self._outages[outage.service] = outage

    def settle(self, judgement: Judgement, at_ms: int, detection: Detection) -> None:
        """Add what is to be said of them to the judgement of a bin.

        Parameters
        ----------
        judgement
            What `detection` has just judged.
        at_ms
            End of the bin.
        detection
            The rebuilt state. It is asked about an incident once it has judged the bin of its last transition.
        """
        if not self._open:
            return
        stated = {fact.key.rpartition(b"/")[0].decode() for fact in judgement.facts}
        lost = []
        for incident in list(self._open.values()):
            if at_ms < incident.at_ms or detection.is_waiting(incident.service):
                continue
            del self._open[incident.id]
            if incident.id not in stated and not detection.is_open(incident):
                lost.append(incident)
        for incident in lost:
            document = incidents.superseded(incident, at_ms)
            judgement.facts.append(
                Fact("incidents", document.service, f"{document.id}/{document.sequence}".encode(), encode(document))
            )
        for service in sorted({incident.service for incident in lost}):
            outage = self._outages.pop(service, None)
            if outage is not None and outage.state == "open":
                ended = outages.superseded(outage, at_ms)
                judgement.facts.append(Fact("outages", service, f"{ended.id}/{ended.sequence}".encode(), encode(ended)))


def _document(key: bytes, value: bytes, kind: type[Event]) -> Event:
    try:
        return decode(value, kind)
    except VersionError as error:
        raise error.at(key.decode(errors="replace")) from None
