"""The clock that the people of a region live by, where the settings do not name it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from babel.core import get_global

#: Time zones of each territory by its ISO 3166 code, of the Unicode CLDR.
_ZONES: Mapping[str, list[str]] = get_global("territory_zones")
#: Of countries with several zones, the one that most of their people live in.
_OF_MOST_PEOPLE = {
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FM": "Pacific/Pohnpei",
    "GL": "America/Nuuk",
    "ID": "Asia/Jakarta",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MH": "Pacific/Majuro",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PF": "Pacific/Tahiti",
    "PG": "Pacific/Port_Moresby",
    "PS": "Asia/Hebron",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}
#: A country, or a part of one as ISO 3166-2 has it: `US`, `US-CA`.
_CODE = re.compile(r"([A-Z]{2})(-[A-Z0-9]{1,3})?")


def default_timezone(region: str) -> str:
    """Return the time zone of a region whose name is an ISO 3166 code, `UTC` of any other.

    Where a country has several, it is that of most of its people; so has a part of it, whose own zone no table says.
    """
    code = _CODE.fullmatch(region)
    if code is None:
        return "UTC"
    zones = _ZONES.get(code[1], [])
    return _OF_MOST_PEOPLE.get(code[1]) or (zones[0] if len(zones) == 1 else "UTC")
