"""Outages, ordinary days and mischief as data: reports per minute, and the report logs simulated from them."""

from streams.scenarios.scenario import Scenario, ScenarioError, history, load, names
from streams.scenarios.simulate import reports

__all__ = ["Scenario", "ScenarioError", "history", "load", "names", "reports"]
