"""Why brokers do not let Tocsin in: Kafka's clients keep it to themselves, or say that no broker answers."""

from __future__ import annotations

import ssl
from asyncio import IncompleteReadError
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.security import client_arguments, password_key
from streams.settings import Kafka

_TIMEOUT_MS = 5_000
# OpenSSL's numbers for what is wrong with a certificate
_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
# what a client without TLS takes for the length of an answer begins like this if it is an alert of TLS
_TLS_ALERT = 0x1503

# aiokafka asserts what a broker answers, and a wrong signature is a ValueError
_FAILURES = (KafkaError, OSError, TimeoutError, AssertionError, ValueError)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a connection fails.

    `refused` says that a broker has answered: it is not away, and somebody has to change something.
    """

    line: str
    refused: bool


async def diagnose(settings: Kafka) -> Diagnosis | None:
    """Connect as clients do, to the bootstrap servers and then to the brokers that one of them names.

    Returns
    -------
    Diagnosis
        What is wrong; None if nothing is, or if no bootstrap server answers.

    Raises
    ------
    SettingsError
        As `streams.security.client_arguments` does.
    """
    arguments = client_arguments(settings)
    del arguments["bootstrap_servers"]
    refusals: list[Diagnosis] = []
    for host, port in settings.addresses:
        answer = await _Attempt(settings, arguments, host, port).brokers()
        if not isinstance(answer, Diagnosis):
            return await _of_named(settings, arguments, f"{host}:{port}", answer)
        if answer.refused:
            refusals.append(answer)
    return refusals[0] if refusals else None


async def _of_named(
    settings: Kafka, arguments: dict[str, Any], source: str, brokers: list[tuple[str, int]]
) -> Diagnosis | None:
    for host, port in brokers:
        answer = await _Attempt(settings, arguments, host, port).brokers()
        if isinstance(answer, Diagnosis):
            line = f"{answer.line} ({source} names this broker: see its advertised.listeners)"
            return Diagnosis(line, answer.refused)
    return None


class _Attempt:
    """A try to connect to one address."""

    def __init__(self, settings: Kafka, arguments: dict[str, Any], host: str, port: int) -> None:
        self._settings = settings
        self._arguments = arguments
        self._host = host
        self._port = port

    async def brokers(self) -> list[tuple[str, int]] | Diagnosis:
        """Return the addresses of the cluster's brokers, or why there is no answer."""
        try:
            connection = await self._connect(self._arguments)
        except _FAILURES as error:
            return await self._diagnosis(error)
        try:
            metadata = await connection.send(MetadataRequest([]))
        except _FAILURES:
            # what comes before authentication has been answered
            return self._refusal(f"asks who we are: kafka.security_protocol must be {self._protocol(sasl=True)}")
        finally:
            connection.close()
        return [(host, port) for _, host, port, *_ in metadata.brokers]

    async def _connect(self, arguments: dict[str, Any]) -> AIOKafkaConnection:
        return await create_conn(self._host, self._port, request_timeout_ms=_TIMEOUT_MS, **arguments)

    async def _diagnosis(self, error: Exception) -> Diagnosis:
        settings = self._settings
        cause = error.__cause__
        if isinstance(error, SaslAuthenticationFailed):
            key = password_key(settings, "sasl_password")
            return self._refusal(
                f"refuses the user {settings.sasl_username} or the password: see kafka.sasl_username and kafka.{key}"
            )
        if isinstance(error, UnsupportedSaslMechanismError):
            return self._refusal(f"does not offer {settings.sasl_mechanism}: see kafka.sasl_mechanism")
        if isinstance(error, IllegalSaslStateError):
            return self._refusal(f"asks for no user: kafka.security_protocol must be {self._protocol(sasl=False)}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._refusal(self._about_certificate(error))
        if isinstance(cause, ssl.SSLError):
            return self._refusal(self._about_own_certificate(cause))
        if isinstance(cause, IncompleteReadError) and (cause.expected or 0) >> 16 == _TLS_ALERT:
            return self._refusal(f"speaks TLS: kafka.security_protocol must be {self._protocol(tls=True)}")
        if settings.has_tls and await self._answers_in_clear():
            return self._refusal(f"speaks no TLS: kafka.security_protocol must be {self._protocol(tls=False)}")
        if settings.has_tls and isinstance(error, KafkaError):
            return self._refusal(
                "ends the connection after the TLS handshake: if it asks for a certificate, see kafka.certificate_file"
            )
        if isinstance(error, ssl.SSLError | AssertionError | ValueError):
            return self._refusal(f"is not understood: {error}")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Diagnosis(f"Kafka at {self._host}:{self._port} does not answer: {reason}", refused=False)

    def _about_certificate(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code == _EXPIRED:
            return "shows a certificate that has expired: the broker needs a new one"
        if error.verify_code == _NOT_YET_VALID:
            return "shows a certificate that is not valid yet: see the clocks of both machines"
        if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
            return f"shows a certificate that does not name {self._host}: one of the two has to be changed"
        authorities = "the system's authorities, as kafka.ca_file is not set"
        return (
            f"shows a certificate that was not signed by {'kafka.ca_file' if self._settings.ca_file else authorities}: "
            f"{error.verify_message}"
        )

    def _about_own_certificate(self, error: ssl.SSLError) -> str:
        if not self._settings.certificate_file:
            return "asks for a certificate: set kafka.certificate_file and kafka.key_file"
        alert = str(error.reason).lower().replace("_", " ")
        return (
            f"refuses the certificate in kafka.certificate_file ({alert}): it has expired, or is not of an authority "
            "that the broker trusts"
        )

    async def _answers_in_clear(self) -> bool:
        try:
            (await self._connect({"security_protocol": "PLAINTEXT"})).close()
        except _FAILURES:
            return False
        return True

    def _protocol(self, *, tls: bool | None = None, sasl: bool | None = None) -> str:
        """Return the protocol of the settings with one of its two halves changed."""
        tls = self._settings.has_tls if tls is None else tls
        sasl = self._settings.has_sasl if sasl is None else sasl
        transport = "SSL" if tls else "PLAINTEXT"
        return f"SASL_{transport}" if sasl else transport

    def _refusal(self, what: str) -> Diagnosis:
        return Diagnosis(f"Kafka at {self._host}:{self._port} {what}", refused=True)
