"""Who sent a report, as 64 bits: a hash of service and reporter, one by one or a column at once.

The text's UTF-8 is taken in little-endian words of 8 bytes, the last one padded with zeros; each word is folded in
by xor, a multiplication and a shift, the length by the seed; the end is the finaliser of SplitMix64 (Stafford's
variant 13). Among a million reporters of one service, two share a hash with probability 3e-8. The hash has no secret
key, for a replay on another machine must give the same counts. It never leaves the memory of count; the set that holds
it places its elements by a secret, so nobody can choose reporters who slow it down (`streams.reporterset`).

Where a person is to see that two records are of one reporter, a pseudonym stands for the reporter: a hash with a key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.settings import Settings, SettingsError
from streams.textcolumn import TextColumn, text_column

#: Hash of a report without a reporter; no reporter has it.
NO_REPORTER = 0
#: Longest reporter, in bytes of UTF-8.
MAX_REPORTER_BYTES = 256

#: Least length of the key of pseudonyms.
MIN_KEY_BYTES = 16

_WORD_BYTES = 8
_WORD_MASK = (1 << 64) - 1
#: The lowest 0 to 8 bytes of a word.
_MASKS = np.array([(1 << 8 * used) - 1 for used in range(_WORD_BYTES + 1)], np.uint64)
_LENGTH_FACTOR = 0x9E3779B97F4A7C15
_WORD_FACTOR = 0xD6E8FEB86659FD93
_FINAL_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def hash_text(text: str, seed: int = 0) -> int:
    """Return the 64-bit hash of the UTF-8 of `text`."""
    data = text.encode()
    value = seed ^ (len(data) * _LENGTH_FACTOR & _WORD_MASK)
    for start in range(0, len(data), _WORD_BYTES):
        value ^= int.from_bytes(data[start : start + _WORD_BYTES], "little")
        value = value * _WORD_FACTOR & _WORD_MASK
        value ^= value >> 32
    value = (value ^ (value >> 30)) * _FINAL_FACTORS[0] & _WORD_MASK
    value = (value ^ (value >> 27)) * _FINAL_FACTORS[1] & _WORD_MASK
    return value ^ (value >> 31)


def hash_reporter(service: str, reporter: str) -> int:
    """Return the hash of a reporter of a service; never NO_REPORTER."""
    return hash_text(reporter, seed=hash_text(service)) or 1


def hash_texts(texts: TextColumn, seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what `hash_text` gives for each of n texts.

    Parameters
    ----------
    texts : TextColumn of n texts
    seeds : uint64, shape (n,)
        Seed of each text.
    """
    # A word at every byte position: reads of 8 bytes that start anywhere.
    words = np.ndarray((len(texts.data),), "<u8", buffer=texts.data + bytes(_WORD_BYTES), strides=(1,))
    values = seeds ^ (texts.lengths.astype(np.uint64) * np.uint64(_LENGTH_FACTOR))
    for offset in range(0, int(texts.lengths.max(initial=0)), _WORD_BYTES):
        rows = np.flatnonzero(texts.lengths > offset)
        mask = _MASKS[np.minimum(texts.lengths[rows] - offset, _WORD_BYTES)]
        value = (values[rows] ^ (words[texts.starts[rows] + offset] & mask)) * np.uint64(_WORD_FACTOR)
        values[rows] = value ^ (value >> np.uint64(32))
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FINAL_FACTORS[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_FINAL_FACTORS[1])
    hashes: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return hashes


def hash_reporters(
    services: Sequence[str], service: NDArray[np.int32], reporters: Sequence[str | None]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return what `hash_reporter` gives for each of n reports.

    Parameters
    ----------
    services : sequence of str
        Services that `service` points into.
    service : int32, shape (n,)
        Index of each report's service.
    reporters : sequence of str or None, shape (n,)
        Reporters; None and the empty string mean that there is none.

    Returns
    -------
    hashes : uint64, shape (n,)
        NO_REPORTER where there is none, or where it is not valid.
    valid : bool, shape (n,)
        False where a reporter is longer than MAX_REPORTER_BYTES.
    """
    column = text_column(reporters)
    valid = column.lengths <= MAX_REPORTER_BYTES
    column = column._replace(lengths=np.where(valid, column.lengths, 0))
    seeds = hash_texts(text_column(services), np.zeros(len(services), np.uint64))
    hashes = np.maximum(hash_texts(column, seeds[service]), np.uint64(1))
    hashes[column.lengths == 0] = NO_REPORTER
    return hashes, valid


def pseudonym(reporter: bytes, key: bytes) -> str:
    """Return what stands for a reporter outside of the reports: 16 hexadecimal digits.

    Parameters
    ----------
    reporter
        UTF-8 of the reporter, or the key of its record.
    key
        The deployment's; without it nobody can tell whether a pseudonym is that of a given reporter.
    """
    return hashlib.blake2b(reporter, digest_size=8, key=hashlib.blake2b(key).digest()).hexdigest()


def pseudonym_key(settings: Settings) -> bytes:
    """Return the key of the deployment's pseudonyms; without a file of its own, one for this process.

    Raises
    ------
    SettingsError
        If the file cannot be read or is too short to be a secret.
    """
    path = settings.privacy.reporter_key_file
    if not path:
        return secrets.token_bytes(32)
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"privacy.reporter_key_file: {path}: {error.strerror}") from None
    if len(key) < MIN_KEY_BYTES:
        raise SettingsError(
            f"privacy.reporter_key_file: {path} holds {len(key)} bytes, a secret has at least {MIN_KEY_BYTES}: write "
            "32 random bytes or 64 hexadecimal digits into it"
        )
    return key
