"""Errors as documents: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streams.events import encode
from streams.web.query import AskedWronglyError, UnknownError
from streams.web.shapes import Problem

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class NotKnownError(Exception):
    """What is asked cannot be answered now, as the data are not current; the message says why."""


def problem(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as a document."""
    document = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=str(request.url.path)[:400]
    )
    own = {"cache-control": "no-store", **(headers or {})}
    return Response(encode(document), status, own, MEDIA_TYPE)


def _unknown(request: Request, error: Exception) -> Response:
    return problem(request, 404, str(error))


def _asked_wrongly(request: Request, error: Exception) -> Response:
    return problem(request, 400, str(error))


def _not_known(request: Request, error: Exception) -> Response:
    return problem(request, 503, str(error), {"retry-after": "10"})


def _not_read(request: Request, error: Exception) -> Response:
    log.warning("the read model cannot be read", reason=str(error))
    return problem(request, 503, "the read model cannot be read at the moment", {"retry-after": "2"})


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404:
        detail = "there is nothing at this address"
    elif error.status_code == 405:
        detail = f"{request.method} is not for this address: everything here is for reading"
    return problem(request, error.status_code, detail, error.headers)


def _failed(request: Request, error: Exception) -> Response:
    log.error("a request cannot be answered", path=request.url.path, exc_info=error)
    return problem(request, 500, "something is wrong here, and the log of tocsin web says what")


HANDLERS = {
    UnknownError: _unknown,
    AskedWronglyError: _asked_wrongly,
    NotKnownError: _not_known,
    sqlite3.OperationalError: _not_read,
    HTTPException: _refused,
    Exception: _failed,
}
