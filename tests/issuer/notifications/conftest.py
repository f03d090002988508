"""Receivers, and issuers that tell them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from harness.certificates import Certificates, make_certificates
from harness.receivers import Mailbox, Receiver, mailbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server."""
    with Receiver() as one:
        yield one


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a server's certificate for loopback."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def server_tls(certificates: Certificates) -> ssl.SSLContext:
    """What a server there shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


@pytest.fixture
def post_office() -> Iterator[Mailbox]:
    """A mail server without TLS."""
    with mailbox() as box:
        yield box
