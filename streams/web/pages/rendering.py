"""Templates made into answers, in the language of the request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from streams.events import DAY_MS
from streams.web.pages import sentences
from streams.web.pages.languages import CHOICE, Language, choose, read_languages
from streams.web.shapes import Service
from streams.web.site import Site

TEMPLATES = Path(__file__).parent.parent / "templates"
_YEAR_S = 365 * 86_400


class Pages:
    """All templates in all languages.

    Parameters
    ----------
    site
        What is shown.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.languages = read_languages()
        self._environments = {code: self._environment(each) for code, each in self.languages.items()}

    def render(
        self, request: Request, template: str, after: str, values: Mapping[str, Any], status_code: int = 200
    ) -> Response:
        """Return a page.

        Parameters
        ----------
        request
            Its language is that of the page.
        template
            Name of its file.
        after
            The state of the read model that the page is of, or an older one: the stream goes on from there.
        values
            What the template asks for.
        status_code
            Of the answer.
        """
        language = choose(request, self.languages)
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != CHOICE]
        text = (
            self._environments[language.code]
            .get_template(template)
            .render(
                after=after,
                status=self._site.status(),
                title=self._site.settings.web.title,
                here=request.url.path,
                in_language={
                    code: f"{request.url.path}?{urlencode([*asked, (CHOICE, code)])}" for code in self.languages
                },
                **values,
            )
        )
        headers = {"cache-control": "no-cache", "vary": "accept-language, cookie"}
        response = HTMLResponse(text, status_code, headers)
        if request.query_params.get(CHOICE) == language.code:
            response.set_cookie(CHOICE, language.code, max_age=_YEAR_S, samesite="lax", httponly=True)
        return response

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(language.words, newstyle=True)  # type: ignore[attr-defined]
        settings = self._site.settings

        def happening(service: Service) -> str:
            return sentences.happening(service, language, settings)

        environment.globals |= {
            "language": language,
            "languages": self.languages,
            "STATES": sentences.STATES,
            "OUTAGE_STATES": sentences.OUTAGE_STATES,
            "TRANSITIONS": sentences.TRANSITIONS,
            "happening": happening,
            "window": language.length(settings.count.window_ms),
        }
        environment.filters |= {
            "number": language.number,
            "percent": language.percent,
            "length": language.length,
            "clock": language.time,
            "moment": lambda time_ms: language.time(time_ms, "moment"),
            "same_day": lambda time_ms, other_ms: language.time(
                time_ms, "clock" if time_ms // DAY_MS == other_ms // DAY_MS else "moment"
            ),
            "day": lambda time_ms: language.time(time_ms, "day"),
            "region": lambda code: language.region(code, settings),
            "kind": lambda kind: sentences.kind_name(kind, language),
            "reason": lambda incident: sentences.reason(incident, language, settings),
            "multiple": language.multiple,
            "reports": language.reports,
            "listed": language.listed,
            "length_of": len,
        }
        return environment
