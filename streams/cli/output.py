"""Where a command writes its data: a file that is there only once it is complete, or standard output."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from streams import reportlog
from streams.reportlog import LogRecord

#: The argument that stands for standard input and output.
STANDARD = Path("-")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, compressed if its name ends in `.gz`; `-` is standard output.

    Until all is written the file has another name (`.part`), and it is removed if writing fails.
    """
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a device or a pipe is not to be replaced
        with path.open("wb") as file:
            yield file
        return
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".gz":
                # no time of writing and no name in the header: the same records give the same file
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed:
                    yield cast("BinaryIO", compressed)
            else:
                yield file
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_log(path: Path, records: Iterable[LogRecord]) -> int:
    """Write a report log and return how many records it has."""
    written = 0
    with opened(path) as file:
        for line in reportlog.encoded(records):
            file.write(line)
            written += 1
    return written
