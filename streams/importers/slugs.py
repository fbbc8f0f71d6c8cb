"""Names of regions, services and kinds from what people call them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_BETWEEN = re.compile(r"[^a-z0-9]+")
_HASH_DIGITS = 8


def slug(text: str, longest: int = 32) -> str:
    """Return `text` as a name that reports may carry: lower-case letters and digits of ASCII, `-` between words.

    Accents are dropped, and names that differ in case, accents and punctuation alone become one: `Mi-Wuk Village` and
    `MI Wuk Village` are one place. Where more than that would be lost, letters of another script or what goes beyond
    `longest`, a hash of the whole name is added, so that other names stay apart.

    Parameters
    ----------
    text
        Such as a town, a product, a cause.
    longest
        Most characters of the name, more than 9.

    Raises
    ------
    ValueError
        If `text` has neither a letter nor a digit.
    """
    letters = [each for each in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(each)]
    if not any(each.isalnum() for each in letters):
        raise ValueError("has neither a letter nor a digit to make a name of")
    name = _BETWEEN.sub("-", "".join(each for each in letters if each.isascii() or not each.isalnum())).strip("-")
    if len(name) <= longest and all(each.isascii() for each in letters if each.isalnum()):
        return name
    digest = hashlib.sha256("".join(letters).encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{name[: longest - _HASH_DIGITS - 1].strip('-')}-{digest}".strip("-")
