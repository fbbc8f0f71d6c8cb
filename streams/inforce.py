"""Which detection settings are in force in one counts partition: those that its log names, change by change.

A worker that is told to apply its settings writes them into the log. They hold for the bins that later records
complete, whichever worker judges these bins and however often, so a restart judges every bin as it was judged before.
Only the first bins of all, those before the first snapshot of the sensor, are judged by what a restart brings.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.events import SENSOR, SettingsChange
from streams.settings import Settings
from streams.snapshots import DetectionChangedError, Snapshot

_BEGINNING_MS = -(2**63)


class InForce:
    """The settings of one partition, and from which bin on they hold.

    Parameters
    ----------
    own
        The settings of this worker.
    detecting
        Fingerprint of those in force for the first bin to be judged; None if that is not known.
    snapshots
        The snapshots that the log holds, by service and bin: those of the sensor name their settings.

    Raises
    ------
    DetectionChangedError
        If no snapshot holds the settings that are in force.
    """

    def __init__(
        self, own: Settings, detecting: str | None, snapshots: Mapping[str, Mapping[int, list[Snapshot]]]
    ) -> None:
        self._own = own
        sensor = [parts[0] for _, parts in sorted(snapshots.get(SENSOR, {}).items())]
        # without a commit nothing was ever deleted: the oldest snapshot is of the settings that were first
        name = detecting or (sensor[0].detecting if sensor else own.detecting)
        known = {own.detecting: own}
        for each in sensor:
            if each.detecting not in known and each.settings is not None:
                known[each.detecting] = own.detecting_as(each.settings)
        if name not in known:
            raise DetectionChangedError(
                f"the bins to be judged are under detection settings {name}, which no snapshot holds and this worker "
                f"has not: it has {own.detecting}; start it once with the settings of before, without --apply-settings"
            )
        #: The settings that hold for the next bin.
        self.settings = known[name]
        self._since_ms = {_BEGINNING_MS: name}

    @property
    def is_own(self) -> bool:
        """Whether they are the worker's."""
        return self.settings.detecting == self._own.detecting

    def change(self, record: SettingsChange, next_ms: int | None) -> bool:
        """Take in a change, ahead of the bin `next_ms`, and return whether it changes anything.

        Raises
        ------
        SettingsError
            If this version does not know such settings.
        """
        if record.detecting == self.settings.detecting:
            return False
        own = record.detecting == self._own.detecting
        self.settings = self._own if own else self._own.detecting_as(record.settings)
        self._since_ms[_BEGINNING_MS if next_ms is None else next_ms] = record.detecting
        return True

    def at(self, bin_ms: int) -> str:
        """Return the fingerprint of the settings under which a bin is judged."""
        return self._since_ms[max(since_ms for since_ms in self._since_ms if since_ms <= bin_ms)]
