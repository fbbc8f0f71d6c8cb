"""The three stages at work on Kafka: each drives the logic of its part and states what follows from it."""

from streams.chunks import Chunk


class StageError(Exception):
    """A stage cannot go on: a setting contradicts what is in Kafka, or what was read cannot be right."""


def require_next(chunk: Chunk, position: int) -> None:
    """Raise a StageError unless `chunk` begins at `position`, where the stage has read up to."""
    if chunk.start != position:
        raise StageError(
            f"{chunk.tp.topic} partition {chunk.tp.partition}: read up to {position}, "
            f"but the next chunk begins at {chunk.start}"
        )
