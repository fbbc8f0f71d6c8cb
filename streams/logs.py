"""Logs: JSON lines on stderr, readable ones on a terminal; Faust's own go the same way."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from streams.chunks import UnreadableError
from streams.publisher import PublishError
from streams.settings import SettingsError
from streams.stages import StageError
from streams.topics import TopicsError
from streams.transport import PositionLostError

_EXPECTED = (PositionLostError, PublishError, SettingsError, StageError, TopicsError, UnreadableError)


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Set up logging for this process.

    Parameters
    ----------
    level
        The least level of Tocsin's own logs; of libraries, warnings and above are logged.
    stream
        Where the lines go, if not to standard error.
    """
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.addFilter(_is_unexpected)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("streams").setLevel(level)
    # the services of Faust that are ours report their comings and goings under the names of their modules
    for module in ("streams.transport", "streams.stageapp"):
        logging.getLogger(module).setLevel(logging.WARNING)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Pass over the tracebacks of what has a message of its own, which the worker logs in one line."""
    return not (record.exc_info and isinstance(record.exc_info[1], _EXPECTED))
