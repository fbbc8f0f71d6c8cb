"""What may import what, and how long a file may be."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
LAYERS: list[list[str]] = [re.findall(r"\w+", layer) for layer in CONTRACTS[0]["layers"]]
#: The highest layer of the logic.
LOGIC = "backtest"
MAX_LINES = 400

MODULES = {
    path.stem for path in (ROOT / "streams").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
} - {"__init__"}
SOURCES = sorted(
    path for package in ("streams", "detectors", "tests", "benchmarks") for path in (ROOT / package).rglob("*.py")
)


def test_every_contract_on_imports_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_of_streams_has_its_layer() -> None:
    assert MODULES - {module for layer in LAYERS for module in layer} == set()


def test_every_module_of_the_logic_is_kept_from_the_edge() -> None:
    first = next(number for number, layer in enumerate(LAYERS) if LOGIC in layer)
    logic = {module for layer in LAYERS[first:] for module in layer}
    (contract,) = [contract for contract in CONTRACTS if contract["name"].startswith("the logic")]
    assert set(contract["source_modules"]) == {f"streams.{module}" for module in logic}


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_file_is_too_long_to_read(source: Path) -> None:
    lines = len(source.read_text().splitlines())
    assert lines <= MAX_LINES
