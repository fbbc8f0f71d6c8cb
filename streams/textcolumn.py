"""A column of short texts as one run of bytes, so that numpy can read all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TextColumn(NamedTuple):
    r"""The UTF-8 of n texts, each followed by `\n`.

    Attributes
    ----------
    data : bytes
        All texts with their newlines.
    starts : int64, shape (n,)
        Position of each text in `data`.
    lengths : int64, shape (n,)
        Bytes of each text.
    """

    data: bytes
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def text_column(texts: Sequence[str | None]) -> TextColumn:
    """Return `texts` as a column; None counts as empty."""
    present = [text or "" for text in texts]
    data = "\n".join([*present, ""]).encode()
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if len(ends) != len(texts):
        # A text holds newlines of its own: measure each.
        ends = np.cumsum([len(text.encode()) + 1 for text in present]) - 1
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return TextColumn(data, starts, ends - starts)
