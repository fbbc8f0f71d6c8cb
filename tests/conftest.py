"""Options of the test suite."""

import os

import pytest
from hypothesis import HealthCheck, settings

# No test may depend on how fast a shared machine happens to be. CI tries the same examples each time, so that a
# failure there speaks of the change; everybody else's runs go on looking for new ones.
settings.register_profile("tocsin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("tocsin"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "tocsin")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden incident logs anew; read the difference with git"
    )
