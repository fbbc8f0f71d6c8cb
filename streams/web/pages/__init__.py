"""The pages: what people see. Made on the server; the scripts in `static` draw charts and bring what is new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.web.pages import views
from streams.web.pages.rendering import Pages
from streams.web.query import AskedWronglyError, UnknownError
from streams.web.site import Site

View = Callable[[Site, Request], dict[str, Any]]


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of all pages."""
    pages = Pages(site)

    def page(path: str, template: str, view: View) -> Route:
        # no coroutine: each request has a thread to ask the read model in
        def answer(request: Request) -> Response:
            try:
                return pages.page(request, template, view)
            except UnknownError as error:
                return pages.error(request, str(error), 404)
            except AskedWronglyError as error:
                return pages.error(request, str(error), 400)

        answer.__name__ = template.removesuffix(".html")
        return Route(path, answer)

    return [
        page("/", "overview.html", views.overview),
        page("/services/{service}", "service.html", views.service),
        page("/outages/{id}", "outage.html", views.outage),
        page("/history", "history.html", views.history),
        Route("/changes", pages.changes),
    ]
