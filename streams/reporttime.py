"""Event times as producers write them: RFC 3339 text to integer milliseconds, one by one or a column at once.

Accepted is `YYYY-MM-DDTHH:MM:SS`, then an optional fraction of 1 to 9 digits, then `Z` or `+hh:mm` or `-hh:mm`; `t`
and `z` may be lower case. Years run from 0001 to 9999. The fraction is cut to milliseconds. Leap seconds (`:60`)
are refused, for a bin has no place for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from streams.textcolumn import text_column

#: Event time of a report that carries none.
NO_TIME = -(1 << 62)

_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def parse_time(text: str) -> int:
    """Return the time that `text` names, in milliseconds since the Unix epoch (negative before 1970).

    Raises
    ------
    ValueError
        If `text` has another form, or names no time of the calendar.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("not of the form YYYY-MM-DDTHH:MM:SS[.fraction](Z or +hh:mm or -hh:mm)")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_hour, offset_minute = match.groups()[6:]
    days = date(year, month, day).toordinal() - _EPOCH_DAY
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("hour must be in 0..23, minute and second in 0..59")
    offset_minutes = 0
    if sign is not None:
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            raise ValueError("hours of the offset must be in 0..23, minutes in 0..59")
        offset_minutes = int(sign + offset_hour) * 60 + int(sign + offset_minute)
    seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second
    return seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))


def format_time(time_ms: int) -> str:
    """Return a time as reports carry it: `2019-10-09T14:10:24.000Z`.

    Raises
    ------
    OverflowError
        If it is outside of the years 0001 to 9999.
    """
    text = (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


#: For month number `12 * year + month - 1` its first day, in days since the Unix epoch.
_MONTH_DAY = np.arange("0000-01", "10001-01", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
_WHOLE = "0000-00-00t00:00:00"
#: All forms of a time, `0` for a digit and `+` for a sign, by length and by whether they end in `z`.
_FORMS = {
    (len(form), form.endswith("z")): form
    for zone in ("z", "+00:00")
    for fraction in ("", *("." + "0" * digits for digits in range(1, 10)))
    for form in (_WHOLE + fraction + zone,)
}
_TOO_LONG = 64


def parse_times(texts: Sequence[str | None]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what `parse_time` gives for each text, and where it gives anything.

    Texts of one shape (length, with or without `Z`) are read together, a character position at a time.

    Parameters
    ----------
    texts : sequence of str or None, shape (n,)
        Event times; None where the report carries none.

    Returns
    -------
    time_ms : int64, shape (n,)
        Milliseconds since the Unix epoch; NO_TIME where the text is None or no time.
    valid : bool, shape (n,)
        False where `parse_time` raises.
    """
    data, starts, lengths = text_column(texts)
    characters = np.frombuffer(data, np.uint8)
    time_ms = np.full(len(texts), NO_TIME, np.int64)
    valid = np.zeros(len(texts), np.bool_)
    empty = np.flatnonzero(lengths == 0)
    valid[empty] = [texts[row] is None for row in empty.tolist()]
    is_zulu = (characters[starts + lengths - 1] | 0x20) == ord("z")
    codes = 2 * np.minimum(lengths, _TOO_LONG) + is_zulu
    for code in np.flatnonzero(np.bincount(codes)).tolist():
        form = _FORMS.get((code // 2, bool(code % 2)))
        if form is None:
            continue
        rows = np.flatnonzero(codes == code)
        if len(rows) == len(texts):
            columns = characters.reshape(-1, len(form) + 1)[:, :-1].T.copy()
        else:
            columns = characters[starts[rows] + np.arange(len(form))[:, np.newaxis]]
        time_ms[rows], valid[rows] = _parse_form(columns, form)
    return time_ms, valid


def _parse_form(columns: NDArray[np.uint8], form: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times and validity of texts of one form; row i of `columns` holds their characters at position i."""
    zone = len(form) - (1 if form.endswith("z") else len("+00:00"))
    is_west = columns[zone] == ord("-")
    columns[zone, is_west] = ord("+")
    for letter in (len("0000-00-00"), len(form) - 1):
        if form[letter] != "0":
            columns[letter] |= 0x20
    digits = columns - np.frombuffer(form.encode(), np.uint8)[:, np.newaxis]
    highest = np.array([9 if mark == "0" else 0 for mark in form], np.uint8)
    valid: NDArray[np.bool_] = np.logical_and.reduce(digits <= highest[:, np.newaxis], axis=0)
    century, year, month, day, hour, minute, second = (
        digits[position] * np.uint8(10) + digits[position + 1] for position in (0, 2, 5, 8, 11, 14, 17)
    )
    valid &= ((century | year) >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    valid &= (hour <= 23) & (minute <= 59) & (second <= 59)
    month_number = (century.astype(np.int64) * 100 + year) * 12 + month - 1
    month_number[~valid] = 0
    first_day = _MONTH_DAY[month_number]
    valid &= day <= _MONTH_DAY[month_number + 1] - first_day
    minutes = ((first_day + day - 1) * 24 + hour) * 60 + minute
    if form[zone] == "+":
        offset_hour, offset_minute = (
            digits[position] * np.uint8(10) + digits[position + 1] for position in (zone + 1, zone + 4)
        )
        valid &= (offset_hour <= 23) & (offset_minute <= 59)
        minutes += np.where(is_west, 1, -1) * (offset_hour * np.int64(60) + offset_minute)
    time_ms = (minutes * 60 + second) * 1000
    for position, weight_ms in zip(range(len(_WHOLE) + 1, zone), (100, 10, 1), strict=False):
        time_ms += digits[position] * np.int64(weight_ms)
    time_ms[~valid] = NO_TIME
    return time_ms, valid
