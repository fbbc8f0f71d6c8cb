"""Templates made into answers, in the language of the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from streams.events import DAY_MS
from streams.topics import Topics
from streams.web.changes import Place
from streams.web.kept import Made, tagged
from streams.web.pages import sentences, views
from streams.web.pages.languages import CHOICE, Language, choose, read_languages
from streams.web.query import AskedWronglyError
from streams.web.shapes import Service, Status
from streams.web.site import Site

TEMPLATES = Path(__file__).parent.parent / "templates"
_HEADERS = {"vary": "accept-language, cookie"}
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

    def page(self, request: Request, template: str, view: Callable[[Site, Request], Mapping[str, Any]]) -> Response:
        """Return a page in the language of the request.

        Parameters
        ----------
        request
            What is asked.
        template
            Name of its file.
        view
            Returns what the template asks for.
        """
        language = choose(request, self.languages)
        here, status = self._site.changes.here(), self._site.status()

        def make() -> Made:
            return Made(self._text(request, language, template, here, status, view(self._site, request)).encode())

        key = template, request.url.path, request.url.query, language.code, here, status.state
        response = tagged(request, self._site.kept.get(key, make), "text/html", _HEADERS)
        if request.query_params.get(CHOICE) == language.code:
            response.set_cookie(CHOICE, language.code, max_age=_YEAR_S, samesite="lax", httponly=True)
        return response

    def error(self, request: Request, reason: str, status_code: int) -> Response:
        """Return a page that says why there is nothing."""
        language = choose(request, self.languages)
        here, status = self._site.changes.here(), self._site.status()
        text = self._text(request, language, "error.html", here, status, {"reason": reason})
        return HTMLResponse(text, status_code, {**_HEADERS, "cache-control": "no-cache"})

    def changes(self, request: Request) -> Response:
        """Return what brings the overview up to date: for its script, and no part of the API.

        All services that are shown, in their order, with their figures; as markup, the rows in which other words are
        to be read than at the revision `after` (without one: all rows), and what stands around the rows.
        """
        language = choose(request, self.languages)
        here, status = self._site.changes.here(), self._site.status()

        def make() -> Made:
            values = views.changes(self._site, request)
            services: Sequence[Service] = values["services"]
            document = {
                "after": str(values["after"]),
                "markup": self._text(request, language, "changes.html", here, status, values),
                "order": [each.service for each in services],
                "window": [language.number(each.window) for each in services],
                "usual": [str(sentences.usually(each, language)) for each in services],
            }
            return Made(msgspec.json.encode(document))

        key = "changes", request.url.query, language.code, here, status.state
        try:
            made = self._site.kept.get(key, make)
        except AskedWronglyError as error:
            return self.error(request, str(error), 400)
        return tagged(request, made, "application/json", _HEADERS)

    def _text(
        self,
        request: Request,
        language: Language,
        template: str,
        after: Place,
        status: Status,
        values: Mapping[str, Any],
    ) -> str:
        """Return what a template makes of values; the stream goes on from `after`."""
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != CHOICE]
        return (
            self._environments[language.code]
            .get_template(template)
            .render(
                {
                    "after": after,
                    "status": status,
                    "title": self._site.settings.web.title,
                    "here": request.url.path,
                    "in_language": {
                        code: f"{request.url.path}?{urlencode([*asked, (CHOICE, code)])}" for code in self.languages
                    },
                    **values,
                }
            )
        )

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(language.words, newstyle=True)  # type: ignore[attr-defined]  # of the extension
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
            "reports_topic": Markup('<code dir="ltr">{}</code>').format(Topics(settings.kafka.prefix).reports),
            "usually": lambda service: sentences.usually(service, language),
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
