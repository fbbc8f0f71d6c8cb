"""Detectors judge whether a count of reports is more than a service and region should have."""

from detectors.base import Detector, Keys, SnapshotError, Verdict
from detectors.ears import Ears
from detectors.limit import Limit
from detectors.ratio import Ratio

__all__ = ["Detector", "Ears", "Keys", "Limit", "Ratio", "SnapshotError", "Verdict"]
