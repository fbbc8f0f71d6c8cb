"""Figures of merit: what a detector's verdicts are worth, judged by incidents as they would be opened and closed."""

from detectors.backtest.incidents import Incidents
from detectors.backtest.merit import Outages, Quiet, poisson_interval

__all__ = ["Incidents", "Outages", "Quiet", "poisson_interval"]
