"""Where settings are read from, and what to say of a wrong one: its key, its value, its source and a remedy."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_settings import BaseSettings, InitSettingsSource, TomlConfigSettingsSource

#: Read where no other file is named.
DEFAULT_PATH = Path("tocsin.toml")
#: Environment variables that begin like a setting and are none.
NOT_SETTINGS = {"TOCSIN_SETTINGS", "TOCSIN_KAFKA_JARS"}
#: What Kubernetes add to a service's name, in the variables that they set in every container.
_LINK_SUFFIX = r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"

#: What may tell a password, misspelt or at the wrong place too, is shown to nobody; this is shown instead.
_SECRET = re.compile("pass|secret", re.IGNORECASE)
_HIDDEN = '"**********"'

#: A path into the settings: names of tables and keys, and numbers of list elements.
Key = tuple[int | str, ...]

_EXPECTED = {"model_type": "a table", "dict_type": "a table of tables", "list_type": "a list of tables"}


class SettingsError(Exception):
    """Settings that cannot be used; a line for each problem names the key, its value and where it was read."""


class Sources:
    """The places that settings come from, and what to say of a wrong one.

    The environment is not read by pydantic's own source, which passes over unknown variables and loses the case of
    region codes.

    Parameters
    ----------
    model
        What is to be read.
    path, overrides
        As for `streams.settings.load`.

    Raises
    ------
    SettingsError
        If the file is missing, unreadable or not TOML.
    """

    def __init__(self, model: type[BaseSettings], path: Path | None, overrides: Mapping[str, Any]) -> None:
        self._model = model
        self._variables = _variables()
        self._path = _settings_file(path)
        self._command_line = _nested({tuple(key.split(".")): value for key, value in overrides.items()})
        self._environment = _nested({key: os.environ[variable] for key, variable in self._variables.items()})
        try:
            file = TomlConfigSettingsSource(model, self._path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._path}: not TOML: {error}") from None
        except RecursionError:
            raise SettingsError(f"{self._path}: not TOML that can be read: nested too deeply") from None
        except OSError as error:
            raise SettingsError(f"{self._path}: {error.strerror}") from None
        self._file = file.toml_data
        by_precedence = (
            InitSettingsSource(model, self._command_line),
            InitSettingsSource(model, self._environment),
            file,
        )
        #: The arguments with which `model` reads these places and no other.
        self.merged: dict[str, Any] = {"_build_sources": (by_precedence, {})}

    def problem(self, *, type: str, loc: Key, msg: str, input: Any, **details: Any) -> str:
        """Return the line about one of pydantic's error details."""
        loc = loc[:-1] if loc[-1] == "[key]" else loc  # what is wrong is the last key itself
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in loc).removeprefix(".")
        source = self._where(loc)
        if type == "extra_forbidden":
            remedy = _suggestion(list(known_keys(self._model)), loc, in_environment=source.startswith("environment"))
        elif type == "value_error":
            remedy = str(details["ctx"]["error"])
        elif type in _EXPECTED:
            remedy = f"must be {_EXPECTED[type]}"
        else:
            remedy = msg.replace("Input should", "must").replace("String should", "must")
        shown = json.dumps(input, default=str)
        if not key.endswith("_file") and _SECRET.search(f"{key} {shown} {remedy}"):
            shown = _HIDDEN
        return f"{key} = {shown} ({source}): {remedy}"

    def _where(self, loc: Key) -> str:
        if _holds(self._command_line, loc):
            return "command line"
        if _holds(self._environment, loc):
            setters = (loc[:length] for length in range(len(loc), 0, -1) if loc[:length] in self._variables)
            return f"environment variable {self._variables[next(setters)]}"
        return str(self._path) if _holds(self._file, loc) else "default"


def _quoted(name: str) -> str:
    """Return a key, in quotes where it would not be seen or would take several lines."""
    return name if name and name.isprintable() else json.dumps(name)


def _settings_file(path: Path | None) -> Path | None:
    named = path or os.environ.get("TOCSIN_SETTINGS")
    if named and not Path(named).is_file():
        raise SettingsError(
            f"{named}: no such file ({'command line' if path else 'environment variable TOCSIN_SETTINGS'})"
        )
    return Path(named) if named else DEFAULT_PATH


def _variables() -> dict[Key, str]:
    """Return the environment variables that set something by the key that they set."""
    variables: dict[Key, str] = {}
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        variables["kafka", "bootstrap_servers"] = "KAFKA_BOOTSTRAP_SERVERS"
    for variable in sorted(os.environ.keys() - NOT_SETTINGS - _service_links(os.environ)):
        if variable.startswith("TOCSIN_"):
            parts = variable.removeprefix("TOCSIN_").split("__")
            is_region = parts[0] == "REGIONS"
            key = tuple(part if is_region and depth == 1 else part.lower() for depth, part in enumerate(parts))
            variables[key] = variable
    return variables


def _service_links(environment: Mapping[str, str]) -> set[str]:
    """Return the variables that tell of services called tocsin, tocsin-worker and the like; those are no settings.

    Such a service has a variable `<NAME>_SERVICE_HOST`; without it, what looks like one of the others is a mistake.
    """
    suffix = "_SERVICE_HOST"
    names = {variable.removesuffix(suffix) for variable in environment if variable.endswith(suffix)}
    patterns = [re.compile(f"{re.escape(name)}_({_LINK_SUFFIX})") for name in names]
    # two underscores in a row are those between a table and its key
    links = [variable for variable in environment if "__" not in variable]
    return {variable for variable in links if any(pattern.fullmatch(variable) for pattern in patterns)}


def _nested(values: Mapping[Key, Any]) -> dict[str, Any]:
    """Return the values as tables in tables."""
    root: dict[str, Any] = {}
    for key, value in sorted(values.items()):
        table: Any = root
        for part in key[:-1]:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):  # else a table was set to something else, which is an error of its own
            table[key[-1]] = value if str(key[-1]).endswith("password") else _parsed(value)
    return root


def _parsed(value: Any) -> Any:
    """Return the list or the object that a string is the JSON of, else the value itself."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except ValueError:
            return value  # such as the address [::1]:9092; where a table is due, the error shows the text
    return value


def _holds(values: Any, loc: Key) -> bool:
    for part in loc:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _suggestion(known: list[str], loc: Key, *, in_environment: bool) -> str:
    written = "".join("[]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    namesakes = [key for key in known if key.split(".")[-1] == loc[-1]]
    nearest = (difflib.get_close_matches(written, namesakes or known, n=1) or namesakes)[:1]
    if not nearest:
        return "unknown key; tocsin.example.toml lists the known ones"
    has_variable = in_environment and not set(nearest[0]) & set("[*")
    name = f"TOCSIN_{nearest[0].replace('.', '__').upper()}" if has_variable else nearest[0]
    return f"unknown key, did you mean {name}?"


def known_keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield every key of a model, such as `count.bin_s`, `policy[].service` and `regions.*.name`."""
    for name, field in model.model_fields.items():
        container = get_origin(field.annotation)
        is_list, is_dict = container is list, container is dict
        inner = get_args(field.annotation)[-1] if is_list or is_dict else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from known_keys(inner, f"{path}{name}{'[]' if is_list else '.*' if is_dict else ''}.")
        else:
            yield path + name
