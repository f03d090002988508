"""A self-signed certificate for the demo on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import os
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = datetime.timedelta(days=365)


def write_self_signed(directory: Path, host: str) -> tuple[Path, Path]:
    """Make `certificate.pem` and `key.pem` for a host, unless they are there and still valid."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    now = datetime.datetime.now(datetime.UTC)
    # A pair that a crash has torn does not load, and is made again.
    with suppress(OSError, ValueError):
        held = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        private = serialization.load_pem_private_key(key_path.read_bytes(), None)
        lives_on = held.not_valid_after_utc > now + datetime.timedelta(days=7)
        if lives_on and held.public_key() == private.public_key():
            return certificate_path, key_path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gatepass demo")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(
        key_path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_path, key_path


def end_of(chain: bytes) -> float:
    """When the first certificate of a PEM chain is over, seconds since the epoch.

    Raises `ValueError`.
    """
    return x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
