"""Versions of the records that Tocsin keeps for itself: what is of another version is refused, never guessed at.

Each kind of record says its version in the field `version`. A field that readers may pass over can be added without
a new version; whatever they must understand needs one. A Tocsin that raises a version reads the one before it for as
long as topics keep such records. docs/explanation/compatibility.md is about upgrades.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol, TypeVar

import msgspec

from streams.settings_sources import SettingsError

#: What decoding JSON or MessagePack of any bytes can raise; the last one where it nests very deeply.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class VersionError(SettingsError):
    """A record is of a version that this Tocsin does not know.

    No restart helps: a worker ends as with settings that do not fit what Kafka holds.
    """

    def at(self, place: str) -> VersionError:
        """Return the error with the place of the record before it."""
        return VersionError(f"{place}: {self}")


class Versioned(Protocol):
    """A record that says its version."""

    @property
    def version(self) -> int:
        """The version of its kind."""


Record = TypeVar("Record", bound=Versioned)
RecordOut = TypeVar("RecordOut", bound=Versioned, covariant=True)


class Decoder(Protocol[RecordOut]):
    """Decodes one kind of record; msgspec's decoders for JSON and MessagePack do."""

    def decode(self, data: bytes, /) -> RecordOut:
        """Return the record."""


class _Stamp(msgspec.Struct):
    version: int


def read(data: bytes, decoder: Decoder[Record], stamp: Decoder[Any], known: int, what: str) -> Record:
    """Return the record that `data` holds.

    Parameters
    ----------
    data
        Its bytes.
    decoder
        Decodes records of the known version.
    stamp
        `JSON_STAMP` or `MESSAGEPACK_STAMP`: decodes the version alone, for a newer record may have another shape.
    known
        The version that this Tocsin knows.
    what
        The kind of record, for the message.

    Raises
    ------
    VersionError
        If it is of another version.
    msgspec.DecodeError
        If it is none of this kind.
    """
    try:
        record = decoder.decode(data)
    except UNREADABLE as error:
        require_known(_stamped(data, stamp, known), known, what)
        if isinstance(error, msgspec.DecodeError):
            raise
        raise msgspec.DecodeError(str(error)) from error
    require_known(record.version, known, what)
    return record


def read_commit(text: str, kind: type[Record]) -> Record | None:
    """Return what Kafka keeps beside a committed offset, None if it is no string of ours.

    Raises
    ------
    VersionError
        If it is ours, but of another version.
    """
    try:
        version = msgspec.json.decode(text, type=_Stamp).version
    except (*UNREADABLE, UnicodeEncodeError):
        return None
    require_known(version, known_version(kind), "commit")
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE:
        return None


@cache
def known_version(kind: type[Any]) -> int:
    """Return the version of a kind of record that this Tocsin writes: the default of its field."""
    [field] = [each for each in msgspec.structs.fields(kind) if each.name == "version"]
    version: int = field.default
    return version


def require_known(version: int, known: int, what: str) -> None:
    """Raise a VersionError unless a record's version is the known one."""
    if version != known:
        raise VersionError(
            f"{what} version {version}, but this Tocsin knows version {known}: run the Tocsin that wrote it, or a "
            "later one; docs/explanation/compatibility.md says in which order to upgrade"
        )


def _stamped(data: bytes, stamp: Decoder[Any], known: int) -> int:
    try:
        version: int = stamp.decode(data).version
    except UNREADABLE:
        return known  # no record of ours at all
    return version


JSON_STAMP: Decoder[Any] = msgspec.json.Decoder(_Stamp)
MESSAGEPACK_STAMP: Decoder[Any] = msgspec.msgpack.Decoder(_Stamp)
