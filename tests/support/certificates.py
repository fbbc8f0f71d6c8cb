"""A certificate authority of the tests, and what it certifies, as PEM files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certified:
    """A private key (PKCS #8, which Kafka asks for) and its certificate, in a file each and in one."""

    key: Path
    certificate: Path
    both: Path


class Authority:
    """Certifies servers and clients.

    Parameters
    ----------
    folder
        Where the files go.
    name
        What they are called.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def server(self, name: str, host: str = "127.0.0.1", *, expired: bool = False) -> Certified:
        """Return what a server at `host` shows."""
        return self._files(name, self._ca.issue_cert(host, not_after=_not_after(expired=expired)), None)

    def client(self, user: str, *, expired: bool = False, password: str | None = None) -> Certified:
        """Return what a client shows to be `user`; the key is encrypted if there is a password."""
        leaf = self._ca.issue_cert(f"{user}.example", common_name=user, not_after=_not_after(expired=expired))
        return self._files(user, leaf, password)

    def _files(self, name: str, leaf: trustme.LeafCert, password: str | None) -> Certified:
        key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        chain_pem = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        files = Certified(*(self._folder / f"{name}-{part}.pem" for part in ("key", "certificate", "both")))
        for file, content in ((files.key, key_pem), (files.certificate, chain_pem), (files.both, key_pem + chain_pem)):
            file.write_bytes(content)
        return files


def _not_after(*, expired: bool) -> datetime | None:
    return datetime.now(UTC) - timedelta(minutes=1) if expired else None
