"""The pages: what people see."""

from __future__ import annotations

from starlette.routing import BaseRoute

from streams.web.site import Site


def routes(site: Site) -> list[BaseRoute]:  # noqa: ARG001 - the pages come next
    """Return the routes of all pages."""
    return []
