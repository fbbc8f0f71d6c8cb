"""Detectors judge whether a count of reports is more than a service and region should have."""

from detectors.base import Detector, Keys, SnapshotError, Verdict
from detectors.ears import Ears
from detectors.limit import Limit
from detectors.nbsr import NBSR
from detectors.ratio import Ratio

__all__ = ["NBSR", "Detector", "Ears", "Keys", "Limit", "Ratio", "SnapshotError", "Verdict"]
