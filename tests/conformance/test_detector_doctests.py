from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import detectors
from detectors.keyed import KeyedDetector

MODULES = [module.name for module in pkgutil.walk_packages(detectors.__path__, "detectors.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("detector", KeyedDetector.__subclasses__())
def test_every_detector_has_an_example(detector: type[KeyedDetector]) -> None:
    assert doctest.DocTestFinder(recurse=False).find(detector)[0].examples
