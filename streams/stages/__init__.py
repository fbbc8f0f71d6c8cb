"""The three stages at work on Kafka: each drives the logic of its part and states what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from faust.types import TP

from streams.chunks import Chunk
from streams.transport import Committed
from streams.versions import Record, VersionError, read_commit


class StageError(Exception):
    """A stage cannot go on: a setting contradicts what is in Kafka, or what was read cannot be right."""


def rebuild_point(tp: TP, known: Committed, kind: type[Record]) -> Record | None:
    """Return what Kafka keeps beside the committed offset of a partition, None if there is nothing of ours.

    Raises
    ------
    VersionError
        If it is of a version that this Tocsin does not know.
    """
    if known.offset is None:
        return None
    with reading(f"{tp.topic} partition {tp.partition}, committed offset {known.offset}"):
        return read_commit(known.metadata, kind)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Within this context, errors about records begin with the place of the record.

    Raises
    ------
    VersionError
        If a record is of a version that this Tocsin does not know.
    StageError
        If a record is none of its kind.
    """
    try:
        yield
    except VersionError as error:
        raise error.at(place) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise StageError(f"{place}: {error}") from error


def require_next(chunk: Chunk, position: int) -> None:
    """Raise a StageError unless `chunk` begins at `position`, where the stage has read up to."""
    if chunk.start != position:
        raise StageError(
            f"{chunk.tp.topic} partition {chunk.tp.partition}: read up to {position}, "
            f"but the next chunk begins at {chunk.start}"
        )
