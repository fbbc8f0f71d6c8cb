"""Who may talk to an embedded Kafka, and how: listeners with TLS and SASL, users, and what they are allowed to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion
from kafka.errors import KafkaError

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
#: The listener without any protection that every node has: for the nodes themselves and for administrators.
PLAIN_LISTENER = "CLIENT"
CONTROLLER_LISTENER = "CONTROLLER"
#: Whom Kafka takes those for who have not said who they are.
ANONYMOUS = "User:ANONYMOUS"

_LOGIN = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener that asks for something.

    Parameters
    ----------
    certificate
        PEM file with the private key (PKCS #8) and the certificate chain of the server; with it, the listener speaks
        TLS.
    client_ca
        PEM file with the certificate authorities of clients; with it, a client without a certificate of theirs is
        refused. A client is the user that the CN of its certificate names.
    sasl
        Whether a client has to say which of the broker's users it is.
    """

    certificate: Path | None = None
    client_ca: Path | None = None
    sasl: bool = False

    @property
    def protocol(self) -> str:
        """Kafka's name for what it speaks."""
        transport = "PLAINTEXT" if self.certificate is None else "SSL"
        return f"SASL_{transport}" if self.sasl else transport

    def properties(self, name: str, users: Mapping[str, str]) -> dict[str, str]:
        """Return the broker properties of this listener, which only users of the given passwords may use."""
        own: dict[str, str] = {}
        if self.certificate is not None:
            own |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.certificate)}
        if self.client_ca is not None:
            own |= {
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.client_ca),
                "ssl.client.auth": "required",
                "ssl.principal.mapping.rules": "RULE:.*CN=([^,]+).*/$1/,DEFAULT",
            }
        if self.sasl:
            own["sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
            known = "".join(f" user_{user}={_quoted(password)}" for user, password in users.items())
            own["plain.sasl.jaas.config"] = f"{_LOGIN}.plain.PlainLoginModule required{known};"
            for mechanism in MECHANISMS[1:]:
                own[f"{mechanism.lower()}.sasl.jaas.config"] = f"{_LOGIN}.scram.ScramLoginModule required;"
        return {f"listener.name.{name.lower()}.{key}": value for key, value in own.items()}


def set_passwords(servers: Sequence[str], users: Mapping[str, str]) -> None:
    """Have a running cluster know users by SCRAM, those it knows already under the given passwords from now on.

    Parameters
    ----------
    servers
        Addresses of its plain listener.
    users
        Their passwords.

    Raises
    ------
    kafka.errors.KafkaError
        If it refuses.
    """
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        for mechanism in MECHANISMS[1:]:  # Kafka takes no user twice in a request
            wanted = [UserScramCredentialUpsertion(user, mechanism, password) for user, password in users.items()]
            for user, refusal in admin.alter_user_scram_credentials(wanted).items():
                if refusal is not None:
                    raise KafkaError(f"user {user}: {refusal}")


def authorization() -> dict[str, str]:
    """Return the broker properties under which users are allowed only what ACLs say."""
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # those who use the plain listener, the nodes among them
        "super.users": ANONYMOUS,
    }


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
