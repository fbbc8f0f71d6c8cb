"""What secures connections: which settings go together, what becomes of files, and that nobody sees a secret."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
import structlog.testing
from typer.testing import CliRunner

from streams.cli import app
from streams.security import (
    MissingRightError,
    Operation,
    Resource,
    Right,
    client_arguments,
    credentials,
    warn_if_exposed,
)
from streams.settings import Kafka, Settings, SettingsError, load
from tests.support.certificates import Authority, Certified

#: What must appear nowhere.
CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(client: Certified) -> dict[str, str]:
    return {"certificate_file": str(client.certificate), "key_file": str(client.key)}


def problems(**overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**{f"kafka.{key}": value for key, value in overrides.items()})
    return str(caught.value).splitlines()


def unusable(**kafka: Any) -> str:
    """Return what is said of settings that are right in themselves when a connection is to be made with them."""
    with pytest.raises(SettingsError) as caught:
        client_arguments(Kafka(**kafka))
    return str(caught.value)


class TestWhatGoesTogether:
    def test_sasl_needs_a_user(self) -> None:
        assert problems(security_protocol="SASL_SSL", sasl_password="x") == [
            'kafka.sasl_username = "" (default): must be set where kafka.security_protocol = "SASL_SSL"'
        ]

    def test_sasl_needs_a_password_or_its_file(self) -> None:
        [line] = problems(security_protocol="SASL_PLAINTEXT", sasl_username="alice")
        assert line.startswith('kafka.sasl_password_file = "" (default): or kafka.sasl_password must be set where')

    @pytest.mark.parametrize("key", ["sasl_password", "key_password"])
    def test_a_password_is_either_given_or_in_a_file(self, key: str) -> None:
        own = {"security_protocol": "SASL_SSL", "sasl_username": "alice", "sasl_password": "x"}
        [line] = problems(**own | {key: "y", f"{key}_file": "z"})
        said = f"is set, and so is kafka.{key}: only one of the two can count"
        assert line == f'kafka.{key}_file = "z" (command line): {said}'

    @pytest.mark.parametrize("key", ["sasl_username", "sasl_password", "sasl_password_file"])
    @pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
    def test_a_user_that_nobody_would_be_told_of_is_an_error(self, protocol: str, key: str) -> None:
        [line] = problems(**{"security_protocol": protocol, key: "x"})
        assert line.startswith(f"kafka.{key} = ")
        assert line.endswith("is not used: kafka.security_protocol must be SASL_SSL, or SASL_PLAINTEXT")

    @pytest.mark.parametrize("key", ["ca_file", "certificate_file", "key_password", "key_password_file"])
    def test_certificates_for_a_connection_that_is_not_encrypted_are_an_error(self, key: str) -> None:
        line = problems(**{key: "x"})[0]
        assert "is not used, nothing is encrypted: kafka.security_protocol must be SSL" in line

    @pytest.mark.parametrize("key", ["certificate_file", "key_file"])
    def test_a_certificate_needs_its_key_and_a_key_its_certificate(self, key: str) -> None:
        [line] = problems(**{"security_protocol": "SSL", key: "x"})
        assert line.endswith("must be set if kafka.certificate_file is, and only then")

    def test_they_may_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "alice", "SASL_PASSWORD": '["x"]', "CA_FILE": ""}
        for name, value in own.items():
            monkeypatch.setenv(f"TOCSIN_KAFKA__{name}", value)
        kafka = load().kafka
        assert (kafka.sasl_username, kafka.sasl_password.get_secret_value()) == ("alice", '["x"]')


class TestWhatClientsAreGiven:
    def test_nothing_but_addresses_by_default(self) -> None:
        assert client_arguments(Kafka(bootstrap_servers="a:1,b:2")) == {
            "bootstrap_servers": ["a:1", "b:2"],
            "security_protocol": "PLAINTEXT",
        }
        assert credentials(Kafka()) is None

    @pytest.mark.parametrize("content", ["secret word\n", "secret word\r\n", "secret word"])
    def test_the_password_of_a_file_without_the_line_end(self, content: str) -> None:
        Path("password").write_bytes(content.encode())
        kafka = Kafka(security_protocol="SASL_PLAINTEXT", sasl_username="alice", sasl_password_file="password")
        assert client_arguments(kafka)["sasl_plain_password"] == "secret word"

    def test_a_rotated_password_from_the_next_connection_on(self) -> None:
        kafka = Kafka(security_protocol="SASL_PLAINTEXT", sasl_username="alice", sasl_password_file="password")
        for password in ("before", "after"):
            Path("password").write_text(password)
            assert client_arguments(kafka)["sasl_plain_password"] == password

    def test_a_context_that_verifies_certificates_and_host_names(self, authority: Authority) -> None:
        context = client_arguments(Kafka(security_protocol="SSL", ca_file=str(authority.file)))["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert len(context.get_ca_certs()) == 1

    def test_the_authorities_of_the_system_where_none_are_named(self) -> None:
        context = client_arguments(Kafka(security_protocol="SSL"))["ssl_context"]
        assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()

    def test_a_certificate_whose_key_is_encrypted(self, authority: Authority, tmp_path: Path) -> None:
        (tmp_path / "word").write_text("open\n")
        client = files(authority.client("alice", password="open"))
        for password in ({"key_password": "open"}, {"key_password_file": "word"}):
            kafka = Kafka(**{"security_protocol": "SSL", **client, **password})  # type: ignore[arg-type]  # keys of several types
            assert isinstance(client_arguments(kafka)["ssl_context"], ssl.SSLContext)

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    def test_the_same_to_faust(self, mechanism: Any, authority: Authority) -> None:
        user = {"sasl_username": "alice", "sasl_password": "x", "sasl_mechanism": mechanism}
        with_both = credentials(Kafka(security_protocol="SASL_SSL", ca_file=str(authority.file), **user))
        assert isinstance(with_both, faust.SASLCredentials)
        assert (with_both.protocol.value, with_both.mechanism.value) == ("SASL_SSL", mechanism)
        assert isinstance(with_both.ssl_context, ssl.SSLContext)
        in_clear = credentials(Kafka(security_protocol="SASL_PLAINTEXT", **user))
        assert isinstance(in_clear, faust.SASLCredentials)
        assert in_clear.protocol.value == "SASL_PLAINTEXT"
        assert isinstance(credentials(Kafka(security_protocol="SSL")), faust.SSLCredentials)


class TestFilesThatCannotBeUsed:
    """Each is named, with the key that names it."""

    def test_a_missing_one(self) -> None:
        said = unusable(security_protocol="SSL", ca_file="none.pem")
        assert said == 'kafka.ca_file = "none.pem": No such file or directory'

    @pytest.mark.parametrize("content", ["", "\n"])
    def test_an_empty_password(self, content: str) -> None:
        Path("password").write_text(content)
        said = unusable(security_protocol="SASL_PLAINTEXT", sasl_username="a", sasl_password_file="password")
        assert said == 'kafka.sasl_password_file = "password": is empty'

    def test_a_password_that_is_no_text(self) -> None:
        Path("password").write_bytes(b"\xff\xfe")
        said = unusable(security_protocol="SASL_PLAINTEXT", sasl_username="a", sasl_password_file="password")
        assert said == 'kafka.sasl_password_file = "password": is not text'

    @pytest.mark.parametrize("key", ["ca_file", "certificate_file", "key_file"])
    def test_one_that_is_not_pem(self, key: str, authority: Authority) -> None:
        Path("der").write_text("binary")
        own = {"ca_file": str(authority.file), **files(authority.client("alice")), key: "der"}
        assert unusable(security_protocol="SSL", **own).startswith(f'kafka.{key} = "der": is not PEM')

    def test_authorities_without_a_certificate(self, authority: Authority) -> None:
        key = authority.client("alice").key
        assert "holds no certificate" in unusable(security_protocol="SSL", ca_file=str(key))

    def test_the_key_of_another_certificate(self, authority: Authority) -> None:
        own = files(authority.client("alice")) | {"key_file": str(authority.client("bob").key)}
        said = unusable(security_protocol="SSL", **own)
        assert said.endswith("is not the key of the certificate in kafka.certificate_file")

    def test_an_encrypted_key_without_its_password_asks_no_terminal(self, authority: Authority) -> None:
        own = files(authority.client("alice", password="open"))
        assert unusable(security_protocol="SSL", **own).endswith("is encrypted: kafka.key_password must be set")

    def test_an_encrypted_key_with_another_password(self, authority: Authority) -> None:
        own = files(authority.client("alice", password="open"))
        said = unusable(security_protocol="SSL", **own, key_password=CANARY)
        assert said.endswith("is encrypted: kafka.key_password does not decrypt it")
        assert CANARY not in said


class TestNobodySeesASecret:
    SECURED = Settings(
        kafka=Kafka(
            security_protocol="SASL_SSL",
            sasl_username="alice",
            sasl_password=CANARY,  # type: ignore[arg-type]  # pydantic makes a secret of it
            certificate_file="c",
            key_file="k",
            key_password=CANARY,  # type: ignore[arg-type]  # the same
        )
    )

    def test_in_what_settings_look_like(self) -> None:
        shown = [repr(self.SECURED), str(self.SECURED.model_dump()), self.SECURED.model_dump_json()]
        assert [text for text in shown if CANARY in text] == []

    def test_in_what_check_config_prints(self) -> None:
        options = [f"--set=kafka.{key}={value}" for key, value in self._arguments().items()]
        result = CliRunner().invoke(app, [*options, "check-config"])
        assert result.exit_code == 0
        assert 'kafka.sasl_password = "**********"' in result.output
        assert CANARY not in result.output

    @pytest.mark.parametrize(
        "wrong",
        [
            {"kafka.sasl_password": CANARY},  # without SASL
            {"kafka.sasl_pasword": CANARY},
            {"kafka.passwd": CANARY},
            {"kafka.sasl_password": {"a": CANARY}},
            {"kafka.security": {"sasl_password": CANARY}},
            {"kafka": f'{{"sasl_password": "{CANARY}"'},
            {"sasl_password": CANARY},
        ],
        ids=str,
    )
    def test_in_what_is_said_of_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(SettingsError) as caught:
            load(**wrong)
        assert CANARY not in str(caught.value)
        assert '"**********"' in str(caught.value)

    def test_in_fingerprints(self) -> None:
        fingerprints = self.SECURED.counting, self.SECURED.detecting
        assert fingerprints == (Settings().counting, Settings().detecting)

    def test_in_what_is_said_of_a_missing_right(self) -> None:
        right = Right(Operation.WRITE, Resource.TOPIC, "t.counts")
        assert str(MissingRightError(self.SECURED.kafka, [right], "count")) == (
            "count: the user alice (kafka.sasl_username) lacks Write on topic t.counts; "
            "`tocsin topics acls count` says what is needed"
        )

    def test_in_what_faust_knows_of_it(self) -> None:
        found = credentials(
            Kafka(security_protocol="SASL_PLAINTEXT", sasl_username="alice", sasl_password=CANARY)  # type: ignore[arg-type]  # as above
        )
        assert CANARY not in repr(found)

    def _arguments(self) -> dict[str, str]:
        return {
            "security_protocol": "SASL_SSL",
            "sasl_username": "alice",
            "sasl_password": CANARY,
            "certificate_file": "c",
            "key_file": "k",
            "key_password": CANARY,
        }


class TestPasswordsInTheClear:
    @pytest.mark.parametrize(
        ("servers", "expected"),
        [("127.0.0.1:9092,localhost,[::1]:9092", 0), ("kafka.example:9092", 1), ("127.0.0.1:9092,10.0.0.7:9092", 1)],
    )
    def test_are_warned_of_where_they_leave_the_machine(self, servers: str, expected: int) -> None:
        own = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "alice", "sasl_password": CANARY}
        with structlog.testing.capture_logs() as logs:
            warn_if_exposed(Kafka(bootstrap_servers=servers, **own))  # type: ignore[arg-type]  # keys of several types
        assert [each["log_level"] for each in logs] == ["warning"] * expected
        assert CANARY not in str(logs)
