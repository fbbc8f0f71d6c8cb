"""Reading the read model: one connection a thread, and one state of things for everything that is asked together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

#: How long a reader waits while the file is made anew.
_BUSY_S = 5.0


class Database:
    """The file of the read model, for reading.

    Parameters
    ----------
    path
        The file; it must exist.
    """

    def __init__(self, path: Path) -> None:
        self._uri = f"file:{quote(str(path.resolve()))}?mode=ro"
        self._own = threading.local()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one state of the file until the end of the context."""
        db: sqlite3.Connection | None = getattr(self._own, "db", None)
        if db is None:
            # a thread that ends takes its connection along
            db = self._own.db = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=_BUSY_S)
        if db.in_transaction:  # within another context of this thread
            yield db
            return
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("ROLLBACK")


def meta(db: sqlite3.Connection, name: str) -> str:
    """Return what the file says of itself."""
    return str(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def newest_ms(db: sqlite3.Connection) -> int | None:
    """Return the start of the newest judged bin."""
    newest: int | None = db.execute("SELECT max(bin_ms) FROM services").fetchone()[0]
    return newest
