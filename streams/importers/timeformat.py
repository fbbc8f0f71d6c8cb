"""Times as tables write them: ISO 8601, Unix seconds or milliseconds, or a pattern of strptime."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

#: The formats with a name; anything else is a pattern.
ISO, UNIX_S, UNIX_MS = "iso", "unix-s", "unix-ms"

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_PROBE = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


class TimeFormat:
    """Reads the times of one column.

    Parameters
    ----------
    pattern
        `iso`, `unix-s`, `unix-ms`, or a pattern of `strptime` such as `%d.%m.%Y %H:%M:%S`.
    timezone
        The clock (IANA name) of times that carry no offset of their own. Of the two moments that a clock shows alike
        when it is put back, the earlier one is meant.

    Raises
    ------
    ValueError
        If the pattern does not lead to a date, or there is no such zone.
    """

    def __init__(self, pattern: str = ISO, timezone: str | None = None) -> None:
        self._pattern = pattern
        self._timezone = timezone
        try:
            self._zone = None if timezone is None else ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{timezone!r} is no time zone of the IANA database, such as 'Europe/Berlin'") from None
        if pattern not in (ISO, UNIX_S, UNIX_MS) and not _leads_to_a_date(pattern):
            raise ValueError(
                f"{pattern!r} is neither {ISO}, {UNIX_S}, {UNIX_MS} nor a pattern with year, month and day, "
                "such as '%d.%m.%Y %H:%M:%S'"
            )

    def read(self, text: str) -> int:
        """Return the time in milliseconds since the Unix epoch, cut to whole ones.

        Raises
        ------
        ValueError
            If `text` is no time of this format, or carries no offset and no zone is given.
        """
        if self._pattern in (UNIX_S, UNIX_MS):
            return self._unix_ms(text)
        try:
            iso = self._pattern == ISO
            moment = datetime.fromisoformat(text) if iso else datetime.strptime(text, self._pattern)
        except ValueError:
            form = "a date and time of ISO 8601" if self._pattern == ISO else f"of the form {self._pattern}"
            raise ValueError(f"{text!r} is not {form}") from None
        if moment.tzinfo is None:
            moment = self._zoned(moment, text)
        try:
            return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND
        except OverflowError:
            raise ValueError(f"{text!r} is no time of the calendar") from None

    def _unix_ms(self, text: str) -> int:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} is no number of {'seconds' if self._pattern == UNIX_S else 'milliseconds'}")
        time_ms = int(Decimal(text) * (1000 if self._pattern == UNIX_S else 1))
        try:
            _EPOCH + timedelta(milliseconds=time_ms)
        except OverflowError:
            raise ValueError(f"{text!r} is no time of the calendar; is it in another unit?") from None
        return time_ms

    def _zoned(self, moment: datetime, text: str) -> datetime:
        if self._zone is None:
            raise ValueError(f"{text!r} has no offset: say whose clock it is (--timezone)")
        zoned = moment.replace(tzinfo=self._zone)
        try:
            there_and_back = zoned.astimezone(UTC).astimezone(self._zone)
        except OverflowError:
            raise ValueError(f"{text!r} is no time of the calendar") from None
        if there_and_back.replace(tzinfo=None) != moment:
            raise ValueError(f"{text!r} does not exist in {self._timezone}: clocks were put forward")
        return zoned


def _leads_to_a_date(pattern: str) -> bool:
    try:
        return datetime.strptime(_PROBE.strftime(pattern), pattern).date() == _PROBE.date()
    except ValueError:
        return False
