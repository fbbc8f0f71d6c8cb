"""What the fields of records are: types that carry the descriptions, units and bounds which the schemas show.

Nothing of this is checked when a record is decoded: `streams.decode` judges reports, and facts are Tocsin's own.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

#: Names, as regular expressions that must match the whole text.
SERVICE_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
REGION_PATTERN = r"[A-Za-z0-9-][A-Za-z0-9_-]{0,31}"
KIND_PATTERN = r"[a-z0-9][a-z0-9_-]{0,31}"
#: The form of an event time; that its day is one of the calendar no expression says.
TIME_PATTERN = (
    r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)


def said(text: str, **schema: Any) -> msgspec.Meta:
    """Return the description of a field, and what else its schema says."""
    return msgspec.Meta(description=text, extra_json_schema=schema or None)


def whole(pattern: str) -> str:
    """Return a pattern as schemas write it: anchored at both ends."""
    return f"^{pattern}$"


def time_ms(text: str) -> msgspec.Meta:
    """Return the description of a point in time."""
    return said(f"{text}, in milliseconds since the Unix epoch.")


Service = Annotated[str, said("The service that fails.", pattern=whole(SERVICE_PATTERN))]
Region = Annotated[str, said("Where it fails; `_all` is the whole service.", pattern=whole(f"({REGION_PATTERN}|_all)"))]
Kind = Annotated[str, said("What fails.", pattern=whole(KIND_PATTERN))]
#: Reports by kind, and the share of each kind.
ReportsByKind = dict[Kind, Annotated[int, said("Reports.", minimum=0)]]
ShareByKind = dict[Kind, Annotated[float, said("Share, to four significant digits.", minimum=0, maximum=1)]]
Fingerprint = Annotated[str, said("Fingerprint of settings.", pattern="^[0-9a-f]{16}$")]
Version = Annotated[int, said("Version of this kind of record.")]
SequenceNumber = Annotated[int, said("Number of this document among those of its id, from 1 on.", minimum=1)]
Source = Annotated[int, said("Partition of the reports topic.", minimum=0)]
