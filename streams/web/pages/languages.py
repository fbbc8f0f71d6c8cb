"""How people of one language read: words, numbers, times, lengths of time, lists and names of regions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from pathlib import Path

from babel import Locale, negotiate_locale
from babel.dates import format_skeleton, format_time
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit
from markupsafe import Markup, escape
from starlette.requests import Request

from streams.events import MINUTE_MS
from streams.outages import WHOLE_SERVICE
from streams.settings import Settings

#: One file per language; `en.po` holds only what English has to say beside the words in the code.
FOLDER = Path(__file__).parent.parent / "locale"
DEFAULT = "en"
#: The cookie and the parameter that name a language.
CHOICE = "lang"
_HOUR_MS = 60 * MINUTE_MS


class Language:
    """One language that the pages speak.

    Parameters
    ----------
    code
        Its code, such as `ar`; `locale/<code>.po` holds its words, and its header names the locale of the Unicode CLDR
        that numbers and times are written by.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        with FOLDER.joinpath(f"{code}.po").open(encoding="utf-8") as file:
            catalog = read_po(file)
        compiled = io.BytesIO()
        write_mo(compiled, catalog)
        compiled.seek(0)
        self.words = GNUTranslations(compiled)
        self.locale = catalog.locale or Locale.parse(code)
        self.tag = code.replace("_", "-")
        self.direction: str = self.locale.text_direction
        self.name: str = self.locale.languages.get(code, code)
        # the overview writes thousands of numbers, mostly the same ones
        self._decimal = lru_cache(maxsize=10_000)(self._write_decimal)

    def say(self, message: str, /, **values: object) -> Markup:
        """Return a message with values filled in; what is no markup yet is escaped."""
        return Markup(self.words.gettext(message)) % values

    def count(self, singular: str, plural: str, number: int, /, **values: object) -> Markup:
        """Return a message in the form that a number asks for; `%(n)s` is the number itself."""
        return Markup(self.words.ngettext(singular, plural, number)) % {"n": self.number(number), **values}

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number as it is written, rounded to so many digits behind the point."""
        return self._decimal(round(value, digits))

    def _write_decimal(self, value: float) -> str:
        return self._digits(format_decimal(value, locale=self.locale, numbering_system="default"))

    def percent(self, share: float) -> str:
        """Return a share as a percentage."""
        return self._digits(format_percent(share, "#,##0%", locale=self.locale, numbering_system="default"))

    def reports(self, number: int) -> Markup:
        """Return so many reports, in words."""
        return self.count("%(n)s report", "%(n)s reports", number)

    def multiple(self, ratio: float) -> Markup:
        """Return a ratio as a multiple of what is usual."""
        digits = 0 if ratio >= 10 else 1
        shown = round(ratio, digits)
        whole = int(shown) if shown == int(shown) else 100  # a fraction takes the form of large numbers
        return self.count("%(n)s time the usual", "%(n)s times the usual", whole, n=self.number(ratio, digits))

    def length(self, length_ms: int) -> str:
        """Return a length of time: hours and minutes, or seconds where it has them."""
        hours, rest_ms = divmod(length_ms, _HOUR_MS)
        minutes, rest_ms = divmod(rest_ms, MINUTE_MS)
        amounts = ((hours, "hour"), (minutes, "minute"), (rest_ms // 1000, "second"))
        parts = [
            format_unit(amount, f"duration-{unit}", "long", locale=self.locale, numbering_system="default")
            for amount, unit in amounts
            if amount
        ]
        none = format_unit(0, "duration-minute", "long", locale=self.locale, numbering_system="default")
        return self._digits(self.listed(parts or [none]))

    def listed(self, parts: Iterable[str]) -> str:
        """Return a list as it is said: A, B and C."""
        text: str = format_list(list(parts), locale=self.locale)
        return text

    def time(self, time_ms: int, shown: str = "clock") -> Markup:
        """Return a time in UTC, which the page's script writes in the viewer's own zone.

        Parameters
        ----------
        time_ms
            The time.
        shown
            `clock`, `moment` (with its day) or `day`.
        """
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        day = format_skeleton("yMMMd", moment, locale=self.locale)
        clock = f"{format_time(moment, 'HH:mm', locale=self.locale)} UTC"
        full = str(self.locale.datetime_formats["medium"]).replace("{1}", day).replace("{0}", clock)
        text = {"clock": clock, "moment": full, "day": day}[shown]
        return Markup('<time datetime="{}" title="{}" data-shown="{}">{}</time>').format(
            moment.strftime("%Y-%m-%dT%H:%M:%SZ"), self._digits(full), shown, self._digits(text)
        )

    def region(self, code: str, settings: Settings) -> str:
        """Return the name of a region: of the settings, else of the Unicode CLDR, else the code itself."""
        if code == WHOLE_SERVICE:
            return self.words.gettext("All regions")
        own = settings.regions.get(code)
        # a name that is the CLDR's in English is no name of the deployment's own
        if own is not None and own.name is not None and own.name != Locale(DEFAULT).territories.get(code):
            return own.name
        name: str = self.locale.territories.get(code, code)
        return name

    def region_within(self, code: str, settings: Settings) -> str:
        """Return the name of a region as it stands within a sentence: `the United States`."""
        name = self.region(code, settings)
        within = self.words.pgettext("within a sentence", name)
        return within if within else name

    @cached_property
    def numerals(self) -> str:
        """The CLDR's name of the digits: `latn`, `arab`."""
        return self.locale.default_numbering_system

    def _digits(self, text: str) -> str:
        # Babel writes the separators of a numbering system, but not its digits
        if self.numerals != "arab":
            return text
        return text.translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})


def read_languages() -> Mapping[str, Language]:
    """Return the languages that there is a file of, by code, the default first."""
    codes = sorted((path.stem for path in FOLDER.glob("*.po")), key=lambda code: (code != DEFAULT, code))
    return {code: Language(code) for code in codes}


def choose(request: Request, languages: Mapping[str, Language]) -> Language:
    """Return the language of a request: as its address says, else a cookie, else the browser."""
    for asked in (request.query_params.get(CHOICE), request.cookies.get(CHOICE)):
        if asked is not None and asked in languages:
            return languages[asked]
    accepted = [
        (float(quality) if (quality := weight.strip().removeprefix("q=")).replace(".", "", 1).isdigit() else 1.0, tag)
        for tag, _, weight in (
            each.strip().partition(";") for each in request.headers.get("accept-language", "").split(",")[:20]
        )
        if tag and tag != "*"
    ]
    preferred = [tag for _, tag in sorted(accepted, key=lambda each: -each[0])]
    found = negotiate_locale(preferred, list(languages), sep="-")
    return languages.get((found or DEFAULT).replace("-", "_"), languages[DEFAULT])


def joined(parts: Iterable[object], separator: str = " ") -> Markup:
    """Return parts after each other; what is no markup yet is escaped."""
    return Markup(separator).join(escape(each) for each in parts)
