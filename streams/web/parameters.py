"""The parameters of the API: how each is described, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from re import fullmatch
from typing import Any, get_args

from starlette.requests import Request

from streams.events import IncidentState, LevelState
from streams.fields import REGION_PATTERN, SERVICE_PATTERN, whole
from streams.web import shapes
from streams.web.query import CURSOR_PATTERN, MOST, AskedWronglyError

#: The largest integer that every reader of JSON knows exactly.
_LARGEST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a request; what `schema` says of it holds for each value of a repeated one."""

    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"
    repeated: bool = False
    example: Any = None

    def read(self, request: Request) -> Any:
        """Return the value in a request: a list of a repeated one, else None if it is not there.

        Raises
        ------
        AskedWronglyError
            If it is not what it should be; the message names it.
        """
        if self.place == "path":
            return request.path_params[self.name]
        values = [self._checked(value) for value in request.query_params.getlist(self.name)]
        if self.repeated:
            return values
        if len(values) > 1:
            raise AskedWronglyError(f"{self.name}: is there {len(values)} times, and only one can count")
        return values[0] if values else None

    def _checked(self, value: str) -> Any:
        schema = self.schema
        if schema["type"] == "integer":
            if not fullmatch("-?[0-9]{1,16}", value) or not schema["minimum"] <= int(value) <= schema["maximum"]:
                raise AskedWronglyError(
                    f"{self.name}: must be a whole number from {schema['minimum']} to {schema['maximum']}"
                )
            return int(value)
        if "enum" in schema and value not in schema["enum"]:
            raise AskedWronglyError(f"{self.name}: must be one of {', '.join(schema['enum'])}")
        if "pattern" in schema and not fullmatch(schema["pattern"][1:-1], value):
            raise AskedWronglyError(f"{self.name}: must match {schema['pattern']}")
        if len(value) > schema.get("maxLength", len(value)):
            raise AskedWronglyError(f"{self.name}: must be at most {schema['maxLength']} characters long")
        return value


def _time(name: str, text: str) -> Parameter:
    return Parameter(
        name,
        f"{text}, in milliseconds since the Unix epoch.",
        {"type": "integer", "minimum": 0, "maximum": _LARGEST},
        example=1_748_044_800_000,
    )


_OUTAGE_ID = rf"{SERVICE_PATTERN}\.[0-9]{{8}}T[0-9]{{4,6}}Z"
_INCIDENT_ID = rf"{SERVICE_PATTERN}\.({REGION_PATTERN}|_all)\.[0-9]{{8}}T[0-9]{{4,6}}Z"


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": whole(pattern)}


IN_PATH = {
    "service": Parameter("service", "The service.", _text(SERVICE_PATTERN), "path", example="x"),
    "outage": Parameter("id", "Id of the outage.", _text(_OUTAGE_ID), "path", example="x.20250524T1202Z"),
    "incident": Parameter("id", "Id of the incident.", _text(_INCIDENT_ID), "path", example="x.US.20250524T1202Z"),
}
SERVICE = Parameter("service", "Only of this service.", _text(SERVICE_PATTERN), example="x")
SERVICES = Parameter(
    "service", "Only of these services.", _text(SERVICE_PATTERN), repeated=True, example=["x", "instagram"]
)
REGION = Parameter("region", "Only of this region.", _text(f"({REGION_PATTERN}|_all)"), example="US")
REGIONS = Parameter(
    "region",
    "Of these regions; `*` stands for all. Without it, of the whole service, `_all`.",
    _text(rf"({REGION_PATTERN}|_all|\*)"),
    repeated=True,
    example=["US", "GB"],
)
TEXT = Parameter("q", "What the names hold.", {"type": "string", "maxLength": 64}, example="x")
LEVEL_STATES = Parameter(
    "state", "Only in one of these states.", {"type": "string", "enum": list(get_args(LevelState))}, repeated=True
)
STATES = Parameter(
    "state", "Only in one of these states.", {"type": "string", "enum": list(get_args(IncidentState))}, repeated=True
)
SINCE = _time("since", "Only opened from then on")
UNTIL = _time("until", "Only opened before then")
LIMIT = Parameter("limit", "Entries of a page; 50 without it.", {"type": "integer", "minimum": 1, "maximum": MOST})
CURSOR = Parameter("cursor", "`next` of the page before.", _text(CURSOR_PATTERN))
RANGE = Parameter(
    "range",
    "How long a stretch of time, up to the newest judged bin; an hour without it.",
    {"type": "string", "enum": list(get_args(shapes.Range))},
)
STEP = Parameter(
    "step",
    "Bins or quarters of an hour; without it bins, but quarters for a week.",
    {"type": "string", "enum": list(get_args(shapes.Step))},
)
LANGUAGE = Parameter(
    "lang",
    "The language of names, BCP 47; English where it is not known.",
    _text("[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}"),
    example="ar",
)
ONLY = Parameter(
    "only",
    "With `revision`, that something has changed, and not what: `status`, `revision` and `reset` alone.",
    {"type": "string", "enum": ["revision"]},
)
AFTER = Parameter(
    "after",
    "The `Tocsin-Revision` of what is known already; the header `Last-Event-ID` comes first.",
    _text("[0-9a-f]{8}[.][0-9]{1,18}"),
)


@dataclass(frozen=True)
class Asked:
    """The parameters of one request that were read, by name."""

    values: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)


def read(request: Request, parameters: Sequence[Parameter]) -> Asked:
    """Return what a request asks for.

    Raises
    ------
    AskedWronglyError
        If a parameter is not what it should be, or there is none of that name.
    """
    known = {each.name for each in parameters if each.place == "query"}
    for name in request.query_params:
        if name not in known:
            which = f"known are {', '.join(sorted(known))}" if known else "there are none"
            raise AskedWronglyError(f"{name[:64]}: is no parameter of this address; {which}")
    return Asked({each.name: each.read(request) for each in parameters})
