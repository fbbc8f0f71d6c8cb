"""How Tocsin's clients secure their connections to Kafka: one place that turns settings into their arguments."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from enum import StrEnum
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import faust
import structlog
from pydantic import SecretStr

from streams.settings import Kafka, SettingsError

log = structlog.get_logger(__name__)


class Operation(StrEnum):
    """What may be done to something in Kafka, as its tools spell it; reading and writing allow to describe."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DELETE = "Delete"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


class Resource(StrEnum):
    """Kinds of things in Kafka that rights are about, as its tools spell them."""

    TOPIC = "topic"
    GROUP = "group"


class Right(NamedTuple):
    """One operation on one topic or consumer group."""

    operation: Operation
    resource: Resource
    name: str


class MissingRightError(SettingsError):
    """Kafka does not allow the user of the settings something; no restart changes that.

    Parameters
    ----------
    settings
        Who the user is.
    rights
        What is missing.
    role
        The role of `streams.acls` that needs it, if that is known.
    """

    def __init__(self, settings: Kafka, rights: Iterable[Right], role: str | None = None) -> None:
        who = f"{role}: {_user(settings)}" if role else _user(settings)
        see = f"`tocsin topics acls {role}` says" if role else "`tocsin topics acls` says"
        by_resource = groupby(rights, key=lambda right: (right.resource, right.name))
        super().__init__(
            "\n".join(
                f"{who} lacks {', '.join(right.operation for right in own)} on {resource} {name}; {see} what is needed"
                for (resource, name), own in by_resource
            )
        )


def _user(settings: Kafka) -> str:
    if settings.has_sasl:
        return f"the user {settings.sasl_username} (kafka.sasl_username)"
    if settings.certificate_file:
        return "the user of the certificate in kafka.certificate_file"
    return "a client without a name (kafka.security_protocol)"


def client_arguments(settings: Kafka) -> dict[str, Any]:
    """Return what aiokafka's and kafka-python's clients have to be given to reach the cluster.

    Passwords and certificates are read from their files now, so a client made later takes later ones.

    Raises
    ------
    SettingsError
        If a file is missing, unreadable or not what it should be; the message names the key and the file.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "security_protocol": settings.security_protocol,
    }
    if settings.has_tls:
        arguments["ssl_context"] = _tls(settings)
    if settings.has_sasl:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = _secret(settings, "sasl_password")
    return arguments


def credentials(settings: Kafka) -> faust.auth.Credentials | None:
    """Return the same for a Faust app.

    Raises
    ------
    SettingsError
        As `client_arguments` does.
    """
    arguments = client_arguments(settings)
    context = arguments.get("ssl_context")
    if settings.has_sasl:
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=arguments["sasl_plain_password"],
            ssl_context=context,
            mechanism=settings.sasl_mechanism,
        )
    return None if context is None else faust.SSLCredentials(context)


def warn_if_exposed(settings: Kafka) -> None:
    """Log a warning if passwords leave this machine on connections that are not encrypted."""
    if settings.security_protocol == "SASL_PLAINTEXT" and not all(map(_is_here, settings.addresses)):
        log.warning(
            'kafka.security_protocol = "SASL_PLAINTEXT": whoever is on the way to the brokers can read what is sent'
            " and act as this user; SASL_SSL encrypts"
        )


def _is_here(address: tuple[str, int]) -> bool:
    try:
        return ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


def _tls(settings: Kafka) -> ssl.SSLContext:
    """Return a context that trusts the authorities, verifies host names, and knows the client's certificate."""
    authorities = _pem(settings, "ca_file") if settings.ca_file else None
    try:
        context = ssl.create_default_context(cadata=authorities)
    except ssl.SSLError as error:
        raise _unusable(settings, "ca_file", f"holds no certificate: {error.reason}") from None
    if settings.certificate_file:
        _pem(settings, "certificate_file")
        key, password = _pem(settings, "key_file"), _secret(settings, "key_password")
        try:
            # a function, and not None: OpenSSL would ask a terminal for what an encrypted key needs
            context.load_cert_chain(settings.certificate_file, settings.key_file, lambda: password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = "is not the key of the certificate in kafka.certificate_file"
            elif "ENCRYPTED" in key:
                origin = password_key(settings, "key_password") if password else "key_password"
                problem = f"is encrypted: kafka.{origin} {'does not decrypt it' if password else 'must be set'}"
            else:
                problem = f"or kafka.certificate_file holds none: {error.reason or error}"
            raise _unusable(settings, "key_file", problem) from None
    return context


def password_key(settings: Kafka, key: str) -> str:
    """Return the key that a password of the settings comes from: itself, or that of its file."""
    return key if getattr(settings, key) else f"{key}_file"


def _secret(settings: Kafka, key: str) -> str:
    """Return a password of the settings or of the file that they name."""
    own: SecretStr = getattr(settings, key)
    if own:
        return own.get_secret_value()
    if not getattr(settings, f"{key}_file"):
        return ""
    text = _text(settings, f"{key}_file")
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise _unusable(settings, f"{key}_file", "is empty")
    return secret


def _pem(settings: Kafka, key: str) -> str:
    text = _text(settings, key)
    if "-----BEGIN " not in text:
        raise _unusable(settings, key, "is not PEM: it has no line -----BEGIN ...-----")
    return text


def _text(settings: Kafka, key: str) -> str:
    try:
        return Path(getattr(settings, key)).read_text(encoding="utf-8")
    except OSError as error:
        raise _unusable(settings, key, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unusable(settings, key, "is not text") from None


def _unusable(settings: Kafka, key: str, problem: str) -> SettingsError:
    return SettingsError(f'kafka.{key} = "{getattr(settings, key)}": {problem}')
