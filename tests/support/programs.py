"""Programs that not every developer has: where they are, and what to do without them."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

#: Each program that a test may ask for, and the Debian package that has it.
PACKAGES = {
    "alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "caddy": "caddy",
    "chromium": "chromium",
    "curl": "curl",
    "nginx": "nginx-light",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}
#: Debian calls some by another name than their makers.
NAMES = {"alertmanager": ("alertmanager", "prometheus-alertmanager")}


def program(name: str) -> str:
    """Return the path of a program; skip the test by that name without it, or fail where all must be there."""
    for candidate in NAMES.get(name, (name,)):
        if path := shutil.which(candidate):
            return path
    return missing(f"{name} is not installed (Debian package {PACKAGES[name]})")


def missing(message: str) -> NoReturn:
    """Skip the test that lacks something, or fail where everything must be there."""
    if os.environ.get("NO_TEST_SKIPPED"):
        pytest.fail(message)
    pytest.skip(message)
