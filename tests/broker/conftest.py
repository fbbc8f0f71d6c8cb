from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """A running Apache Kafka of one node, shared by the tests of one worker process: each takes topics of its own."""
    with EmbeddedBroker() as running:
        yield running
