"""The settings of the connection to Kafka, and what every table of the settings file is."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_serializer, field_validator


class Section(BaseModel):
    """A table of the settings file; keys that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
#: Kafka's own.
_DEFAULT_PORT = 9092


class Kafka(Section):
    """Where the cluster is and how its topics are laid out."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "127.0.0.1:9092"
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*$", max_length=100)] = "tocsin"
    clock: Literal["broker", "log"] = "broker"
    reports_partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    counts_partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    replication_factor: Annotated[int, Field(ge=1, le=10)] = 1
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 10.0
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: Annotated[str, Field(validate_default=True)] = ""
    sasl_password: SecretStr = SecretStr("")
    sasl_password_file: Annotated[str, Field(validate_default=True)] = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: Annotated[str, Field(validate_default=True)] = ""
    key_password: SecretStr = SecretStr("")
    key_password_file: str = ""

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each bootstrap server."""
        found = [_ADDRESS.fullmatch(each) for each in self.bootstrap_servers.split(",")]
        return [(each["host"].strip("[]"), int(each["port"] or _DEFAULT_PORT)) for each in found if each]

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted, and brokers have to show a certificate."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def has_sasl(self) -> bool:
        """Whether Tocsin says by a password which user it is."""
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        addresses = [address.strip() for address in value.split(",")]
        found = [_ADDRESS.fullmatch(address) for address in addresses]
        if not all(match and int(match["port"] or 0) < 2**16 for match in found):
            raise ValueError("must be host:port, or several with commas between them")
        return ",".join(addresses)

    @field_validator("sasl_username", "sasl_password", "sasl_password_file")
    @classmethod
    def _goes_with_sasl(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        # absent when it is wrong itself
        if value and info.data.get("security_protocol") in ("PLAINTEXT", "SSL"):
            raise ValueError("is not used: kafka.security_protocol must be SASL_SSL, or SASL_PLAINTEXT")
        return value

    @field_validator("ca_file", "certificate_file", "key_file", "key_password", "key_password_file")
    @classmethod
    def _goes_with_tls(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        if value and info.data.get("security_protocol") in ("PLAINTEXT", "SASL_PLAINTEXT"):
            raise ValueError("is not used, nothing is encrypted: kafka.security_protocol must be SSL or SASL_SSL")
        return value

    @field_validator("sasl_username")
    @classmethod
    def _is_there_for_sasl(cls, value: str, info: ValidationInfo) -> str:
        protocol = info.data.get("security_protocol", "")
        if not value and protocol.startswith("SASL_"):
            raise ValueError(f'must be set where kafka.security_protocol = "{protocol}"')
        return value

    @field_validator("sasl_password_file", "key_password_file")
    @classmethod
    def _is_the_only_one(cls, value: str, info: ValidationInfo) -> str:
        password = str(info.field_name).removesuffix("_file")
        if value and info.data.get(password):
            raise ValueError(f"is set, and so is kafka.{password}: only one of the two can count")
        return value

    @field_validator("sasl_password_file")
    @classmethod
    def _or_the_password_is_there(cls, value: str, info: ValidationInfo) -> str:
        protocol = info.data.get("security_protocol", "")
        if protocol.startswith("SASL_") and not value and not info.data.get("sasl_password", "wrong itself"):
            raise ValueError(f'or kafka.sasl_password must be set where kafka.security_protocol = "{protocol}"')
        return value

    @field_validator("key_file")
    @classmethod
    def _goes_with_a_certificate(cls, value: str, info: ValidationInfo) -> str:
        certificate = info.data.get("certificate_file")
        if certificate is not None and bool(certificate) != bool(value):
            raise ValueError("must be set if kafka.certificate_file is, and only then")
        return value

    @field_serializer("sasl_password", "key_password")
    def _hidden(self, secret: SecretStr) -> str:
        return str(secret)  # asterisks, or nothing where nothing is set
