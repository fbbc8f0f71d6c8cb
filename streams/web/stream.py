"""The stream: server-sent events of what changes, resumed where a client left off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streams.web import parameters
from streams.web.changes import Interest, Place, place
from streams.web.hub import Hub
from streams.web.problems import NotKnownError

PATH = "/api/v1/stream"
#: How often a quiet stream says that it is there: below the minute after which proxies cut connections.
HEARTBEAT_S = 15
#: How long a client may take no byte before it is cut off.
STUCK_S = 30.0


def routes(hub: Hub) -> list[BaseRoute]:
    """Return the route of the stream."""
    return [Route(PATH, _endpoint(hub), name="stream")]


def _endpoint(hub: Hub) -> Callable[[Request], Any]:
    async def stream(request: Request) -> Response:
        asked = parameters.read(request, (parameters.SERVICE, parameters.ONLY, parameters.AFTER))
        if not hub.has_room:
            raise NotKnownError("as many clients listen as may (web.max_streams), or the server ends")
        # what a browser sends when it comes again is newer than what its page was made from
        known = request.headers.get("last-event-id") or asked["after"]
        # an id that is none of ours is of a read model that is no more
        since = None if not known else place(known) or Place("", 0)
        return EventSourceResponse(
            hub.listen(Interest(asked["service"], asked["only"] == "revision"), since),
            ping=HEARTBEAT_S,
            ping_message_factory=lambda: ServerSentEvent(comment="there", sep="\n"),
            sep="\n",
            send_timeout=STUCK_S,
        )

    return stream
