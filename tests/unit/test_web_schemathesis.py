"""Whatever the OpenAPI document allows to ask, and what it does not, is answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from streams.web import openapi
from streams.web.api import OPERATIONS
from tests.support.webapp import web_app


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with web_app(tmp_path_factory.mktemp("web")) as web:
        yield schemathesis.openapi.from_asgi(openapi.PATH, web.app)


# the stream is not among them, for it does not end by itself; without parameters there is nothing to ask wrongly
ALLOWED = [(each.path, GenerationMode.POSITIVE) for each in OPERATIONS]
NOT_ALLOWED = [(each.path, GenerationMode.NEGATIVE) for each in OPERATIONS if each.parameters]


@pytest.mark.parametrize(("path", "mode"), [*ALLOWED, *NOT_ALLOWED], ids=str)
def test_every_answer_is_what_the_document_says(document: Any, path: str, mode: Any) -> None:
    operation = document[path]["GET"]

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: Any) -> None:
        case.call_and_validate()

    asked()
