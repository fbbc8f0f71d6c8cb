"""The three stages at work on Kafka: each drives the logic of its part and states what follows from it."""


class StageError(Exception):
    """A stage cannot go on: a setting contradicts what is in Kafka, or what was read cannot be right."""
