"""The demo: a scenario through a real Kafka and real workers, shown as it happens."""

from streams.demo.run import Configure, DemoError, Deployment, run

__all__ = ["Configure", "DemoError", "Deployment", "run"]
