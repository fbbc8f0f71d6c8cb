"""Kafka's jars: a folder that the user gives, or the user's cache, filled by jgo and checked against the lock file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

KAFKA_VERSION = "4.1.0"
#: Names a folder with Kafka's jars, such as `libs` of a Kafka distribution, to use in place of fetched ones.
JARS_VARIABLE = "TOCSIN_KAFKA_JARS"
EXTRA_MISSING = "the embedded Kafka needs the package {}: install tocsin[embedded]"

_LOCK_FILE = Path(__file__).with_name("jgo.lock.toml")
_FETCHES_AT_ONCE = 8
_FETCH_TIMEOUT_S = 30


class BrokerError(Exception):
    """The embedded broker cannot be had or does not run; the message says what failed and where."""


class LockedJar(msgspec.Struct, rename="camel"):
    """One jar of the lock file, as jgo writes it."""

    group_id: str
    artifact_id: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the jar's file."""
        return f"{self.artifact_id}-{self.version}.jar"

    def is_whole(self, file: Path) -> bool:
        """Return whether `file` is this jar, byte for byte."""
        return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == self.sha256


def jars_folder(given: Path | None) -> Path:
    """Return the folder with Kafka's jars.

    Parameters
    ----------
    given
        A folder to use as it is. Without it, the one that `TOCSIN_KAFKA_JARS` names. Without that, the user's cache
        (`$XDG_CACHE_HOME` or `~/.cache`): every jar there is checked, and fetched if it is missing or another one.

    Raises
    ------
    BrokerError
        If the given folder holds no Kafka, jgo is not installed, or a jar cannot be fetched or is not the locked one.
    """
    if given is None and JARS_VARIABLE in os.environ:
        given = Path(os.environ[JARS_VARIABLE])
    if given is not None:
        if not list(given.glob("kafka_2.13-*.jar")):
            raise BrokerError(f"the jars folder {given} holds no Kafka (no kafka_2.13-*.jar)")
        return given.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "tocsin" / f"kafka-{KAFKA_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [jar for jar in locked_jars() if not jar.is_whole(folder / jar.file_name)]
        if missing:
            _fetch(missing, folder)
    return folder


def locked_jars() -> list[LockedJar]:
    """Return Kafka and all that it needs, from the lock file."""
    return msgspec.convert(tomllib.loads(_LOCK_FILE.read_text())["dependencies"], list[LockedJar])


def _fetch(jars: Sequence[LockedJar], folder: Path) -> None:
    """Bring jars into `folder`, from the repositories that jgo is set up for."""
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError:
        raise BrokerError(EXTRA_MISSING.format("jgo")) from None

    # A folder of its own: jgo would take a half-loaded jar of an earlier try for the whole.
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        maven = MavenContext(repo_cache=Path(downloads), timeout=_FETCH_TIMEOUT_S)
        maven.remote_repos |= GlobalSettings.load().repositories

        def fetch(jar: LockedJar) -> None:
            component = maven.project(jar.group_id, jar.artifact_id).at_version(jar.version)
            try:
                file = component.artifact().resolve()
            except (OSError, RuntimeError) as error:
                raise BrokerError(f"could not fetch {component}: {error}") from error
            if not jar.is_whole(file):
                raise BrokerError(f"{component} as fetched is not the one of the lock file: its SHA-256 differs")
            file.replace(folder / jar.file_name)

        with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
            list(pool.map(fetch, jars))
