"""What people call a region."""

from __future__ import annotations

from babel import Locale

from streams.events import WHOLE_SERVICE
from streams.settings import Settings

_TERRITORIES = Locale("en").territories
_WHOLE_SERVICE_NAME = "all regions together"


def region_name(code: str, settings: Settings) -> str:
    """Return the name of a region: of the settings, else of the Unicode CLDR, else the code itself.

    The whole service is `all regions together`.

    Parameters
    ----------
    code
        As reports carry it: an ISO 3166 code such as `US`, or a name of the deployment's own.
    settings
        The deployment's; `regions.*.name` is looked at.
    """
    region = settings.regions.get(code)
    if region is not None and region.name is not None:
        return region.name
    if code == WHOLE_SERVICE:
        return _WHOLE_SERVICE_NAME
    name: str = _TERRITORIES.get(code, code)
    return name
