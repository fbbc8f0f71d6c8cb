from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streams.gathering import ANSWER_S, Gathering
from streams.health import HealthServer, PortError, listen_at
from streams.metrics import ParentMetrics, WorkerMetrics
from tests.support.series import series

STAGES = ("count", "detect", "notify")

Serve = Callable[..., None]


@pytest.fixture
def gathering(tmp_path: Path) -> Gathering:
    registry = CollectorRegistry()
    return Gathering({stage: tmp_path / stage for stage in STAGES}, ParentMetrics(registry, STAGES), registry)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves the health of a stage at its socket."""

    def start(stage: str, *troubles: str) -> None:
        registry = CollectorRegistry()
        WorkerMetrics(registry, stage, lambda: list(troubles))
        listener = listen_at(tmp_path / stage)
        HealthServer(listener, lambda: generate_latest(registry), lambda: list(troubles)).start()

    return start


def up(gathering: Gathering) -> dict[str, float]:
    found = series(gathering.metrics().decode())
    return {stage: found[f'tocsin_stage_up{{stage="{stage}"}}'] for stage in STAGES}


def test_the_metrics_of_all_stages_are_there_with_the_parents(gathering: Gathering, serve: Serve) -> None:
    serve("count")
    serve("detect", "detect: no bin judged for 400 s")
    serve("notify")
    found = series(gathering.metrics().decode())
    assert {stage: found[f'tocsin_ready{{stage="{stage}"}}'] for stage in STAGES} == {
        "count": 1,
        "detect": 0,
        "notify": 1,
    }
    assert up(gathering) == dict.fromkeys(STAGES, 1)
    assert found['process_resident_memory_bytes{stage="parent"}'] > 0


def test_all_are_ready_or_the_lines_of_those_that_are_not_are_shown(gathering: Gathering, serve: Serve) -> None:
    serve("count")
    serve("detect")
    serve("notify")
    assert gathering.troubles() == []
    serve("detect", "detect: no bin judged for 400 s", "detect: facts are not acknowledged for 20 s")
    assert gathering.troubles() == [
        "detect: no bin judged for 400 s",
        "detect: facts are not acknowledged for 20 s",
    ]


def test_a_stage_without_a_process_is_down_and_the_others_are_there(gathering: Gathering, serve: Serve) -> None:
    serve("count")
    serve("notify")
    assert up(gathering) == {"count": 1, "detect": 0, "notify": 1}
    assert gathering.troubles() == ["detect: the process does not answer"]
    serve("detect")
    assert up(gathering) == dict.fromkeys(STAGES, 1)


def test_a_stage_that_hangs_is_down_after_a_second_however_often_it_is_asked(
    gathering: Gathering, serve: Serve, tmp_path: Path
) -> None:
    serve("count")
    serve("notify")
    with closing(listen_at(tmp_path / "detect")):  # it takes connections, as a frozen process does, and never answers
        for _ in range(6):
            began_s = time.monotonic()
            assert up(gathering) == {"count": 1, "detect": 0, "notify": 1}
            assert ANSWER_S / 2 < time.monotonic() - began_s < 4 * ANSWER_S


def test_a_socket_that_an_earlier_process_has_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "count"
    listen_at(path).close()
    with closing(listen_at(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_path_that_is_too_long_for_a_socket_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 108)
    with pytest.raises(PortError, match=r"cannot listen at .*/x+: AF_UNIX path too long: set TMPDIR"):
        listen_at(path)
