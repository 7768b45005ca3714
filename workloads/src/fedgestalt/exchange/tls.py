"""A private certificate authority and a server certificate, where no public authority vouches.

Clients verify against this authority's file and nothing else. Each file is made once; :func:`make_tls` renews
the server's certificate when less than a week of it is left, without touching any client.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.files import private_directory, write_atomic

_BACKDATED: Final = timedelta(minutes=5)
_CA_DAYS: Final = 3650
_SERVER_DAYS: Final = 90
_RENEW_DAYS: Final = 7


@dataclass(frozen=True)
class TlsFiles:
    """Where the files are: ``ca.pem`` is for the clients, the rest stays with the server."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The authority's private key, mode 0600."""
        return self.directory / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        """The server's private key, mode 0600."""
        return self.directory / "server-key.pem"


def make_tls(directory: Path, hosts: Sequence[str], *, now: datetime | None = None) -> TlsFiles:
    """Make what is missing: the authority, and a server certificate for ``hosts`` (names or IP addresses).

    Raises:
        ExchangeError: a file is there but cannot be read, or half of a pair is missing.
    """
    private_directory(directory)
    files = TlsFiles(directory)
    moment = now or datetime.now(UTC)
    if not files.ca.exists() and not files.ca_key.exists():
        _make_authority(files, moment)
    if not _still_good(files.certificate, hosts, moment):
        _make_server(files, hosts, moment)
    return files


def _make_authority(files: TlsFiles, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedgestalt exchange authority")])
    certificate = (
        _builder(name, name, key.public_key(), now, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    # The key first: a crash in between leaves a key without a certificate, which the error below names.
    write_atomic(files.ca_key, _pem(key))
    write_atomic(files.ca, certificate.public_bytes(Encoding.PEM), mode=0o644)


def _make_server(files: TlsFiles, hosts: Sequence[str], now: datetime) -> None:
    if not hosts:
        raise ExchangeError("a server certificate needs at least one host name or address")
    try:
        authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
        authority_key = load_pem_private_key(files.ca_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ExchangeError(
            f"{files.directory}: the authority cannot be read ({error}). Restore ca.pem and ca-key.pem, "
            "or remove both to make a new one; clients then need the new ca.pem."
        ) from error
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        _builder(name, authority.subject, key.public_key(), now, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, SHA256())
    )
    write_atomic(files.key, _pem(key))
    write_atomic(files.certificate, certificate.public_bytes(Encoding.PEM), mode=0o644)


def _still_good(path: Path, hosts: Sequence[str], now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    lasts = certificate.not_valid_after_utc - now > timedelta(days=_RENEW_DAYS)
    return lasts and set(names) >= {_host(host) for host in hosts}


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
