"""What the parent of the three stages measures, and putting together what they measure themselves."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from streams.metrics.families import Families


class ParentMetrics:
    """Metrics of the process whose children the stages are.

    Parameters
    ----------
    registry
        Where they are registered.
    stages
        The names of the stages.
    """

    def __init__(self, registry: CollectorRegistry, stages: Iterable[str]) -> None:
        self.families = Families(registry, "parent")
        self._up = self.families.gauge(
            "tocsin_stage_up", "", "1 if the stage's process is alive and answered this scrape, else 0.", "stage"
        )
        self._restarts = self.families.counter(
            "tocsin_stage_restarts_total", "starts", "Starts of a stage's process after it had ended.", "stage"
        )
        for stage in stages:
            self._up.labels(stage).set(0)
            self._restarts.labels(stage)

    def up(self, stage: str, is_up: bool) -> None:
        """Take in whether a stage has answered."""
        self._up.labels(stage).set(is_up)

    def restarted(self, stage: str) -> None:
        """Take in that a stage was started again."""
        self._restarts.labels(stage).inc()


def merge(texts: Iterable[str]) -> str:
    """Return metrics of several processes, in Prometheus' text format, as those of one.

    The series of a family come together, under the HELP and TYPE of the first process that has it. Where two
    state the same series, which no two stages do, the first one counts: a scrape with both would fail.

    Parameters
    ----------
    texts
        What each process says, with HELP and TYPE ahead of each family.
    """
    heads: dict[str, dict[str, str]] = {}
    samples: dict[str, dict[str, str]] = {}
    for text in texts:
        name = ""
        for line in text.split("\n"):  # splitlines would cut at characters that label values may hold
            if line.startswith(("# HELP ", "# TYPE ")):
                _, keyword, name, *_ = line.split(" ", 3)
                heads.setdefault(name, {}).setdefault(keyword, line)
            elif line and not line.startswith("#"):
                series = line[: line.rindex(" ")]
                samples.setdefault(name, {}).setdefault(series, line)
    lines = [line for name, head in heads.items() for part in (head, samples.get(name, {})) for line in part.values()]
    return "".join(f"{line}\n" for line in lines)
