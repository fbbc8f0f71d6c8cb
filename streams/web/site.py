"""What all answers are made from: the settings, the questions to the read model, and how current it is."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from starlette.requests import Request

from streams.settings import Settings
from streams.web import shapes
from streams.web.changes import Changes
from streams.web.kept import Kept
from streams.web.query import Query
from streams.web.ranges import Ranges

#: State, why it is not `live`, and for how many seconds no newer level has arrived.
Health = tuple[shapes.StatusState, str | None, float | None]


class Site:
    """One deployment as it is shown.

    Parameters
    ----------
    settings
        The deployment's settings; `web.database` is the file of the read model, and it must exist.
    health
        Returns how the reading of the topics goes; asked by any thread.
    """

    def __init__(self, settings: Settings, health: Callable[[], Health]) -> None:
        self.settings = settings
        self.query = Query(settings)
        self.ranges = Ranges(self.query)
        self.changes = Changes(self.query)
        self.kept = Kept()
        self._health = health

    def status(self) -> shapes.Status:
        """Return how current the answers are."""
        state, reason, quiet_s = self._health()
        with self.query.database.reading():
            model, revision = self.query.revision()
            judged_ms, services, open_outages = self.query.counts()
        return shapes.Status(
            version=version("tocsin"),
            model=model,
            revision=revision,
            state=state,
            reason=reason,
            judged_ms=judged_ms,
            quiet_s=None if quiet_s is None else round(quiet_s, 1),
            bin_ms=self.settings.count.bin_ms,
            window_ms=self.settings.count.window_ms,
            services=services,
            open_outages=open_outages,
        )

    def address(self, request: Request) -> str:
        """Return the address under which people find the site, without a slash at its end."""
        return (self.settings.web.public_url or str(request.base_url)).rstrip("/")
