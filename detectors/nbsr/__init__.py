"""NB-SR: a seasonal baseline that incidents cannot poison, and evidence with a false-alarm budget."""

from detectors.nbsr.detector import NBSR

__all__ = ["NBSR"]
