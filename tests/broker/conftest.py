from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """A running Apache Kafka of one node, shared by the tests of one worker process: each takes topics of its own."""
    with EmbeddedBroker(properties={"log.cleaner.backoff.ms": "200"}) as running:  # Kafka looks every 15 s
        yield running
