"""`gatepass demo --tls`: https with a certificate that the demo has written."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.processes import short_directory
from harness.running_demo import RunningDemo

from issuer.certificates import write_self_signed


@pytest.fixture(scope="module")
def tls_demo() -> Iterator[RunningDemo]:
    """A demo that serves https."""
    directory = short_directory("gp-demo-")
    with RunningDemo(directory / "state", "--tls") as running:
        yield running
    shutil.rmtree(directory)


def test_everything_works_with_the_written_certificate(tls_demo: RunningDemo) -> None:
    """Whoever trusts the written certificate logs in, calls the API, and refreshes."""
    assert tls_demo.described["base_url"].startswith("https://")
    granted = tls_demo.login()
    assert tls_demo.site.api(granted["access_token"]).status == 200
    tls_demo.site.refresh(granted["refresh_token"]).granted()


def test_cookie_mode_is_told_to_stay_on_https(tls_demo: RunningDemo) -> None:
    """A browser gets a `__Host-` cookie and is told to use https alone."""
    body = {"username": tls_demo.username, "password": tls_demo.password}
    origin = {"Origin": tls_demo.described["base_url"]}
    answer = tls_demo.site.post("/login", body, headers=origin)
    answer.granted()
    assert answer.headers["set-cookie"].startswith("__Host-")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


def test_nobody_else_is_served(tls_demo: RunningDemo) -> None:
    """Plain http gets no answer, and a client that does not know the certificate sends nothing."""
    stranger = replace(tls_demo.site, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.get("/healthz")
    plain = replace(stranger, base_url=stranger.base_url.replace("https", "http"))
    with pytest.raises(OSError, match=r"closed connection|reset"):
        plain.get("/healthz")


def test_old_tls_is_refused(tls_demo: RunningDemo) -> None:
    """A client that speaks nothing newer than TLS 1.1 is turned away (RFC 8996)."""
    context = ssl.create_default_context(cafile=str(tls_demo.state_dir / "tls/certificate.pem"))
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        replace(tls_demo.site, context=context).get("/healthz")


def test_restart_keeps_certificate_and_session(make_demo: Callable[..., RunningDemo]) -> None:
    """The second start has the certificate of the first, so that clients go on trusting it."""
    demo = make_demo("--tls").start()
    kept = demo.login()["refresh_token"]
    written = (demo.state_dir / "tls" / "certificate.pem").read_bytes()
    assert demo.stop() == 0
    demo.start()
    assert (demo.state_dir / "tls" / "certificate.pem").read_bytes() == written
    demo.site.refresh(kept).granted()


def test_half_written_certificate_is_made_again(tmp_path: Path) -> None:
    """A certificate that a power cut left empty or torn is replaced by a whole one."""
    certificate, key = write_self_signed(tmp_path / "tls", "127.0.0.1")
    certificate.write_bytes(certificate.read_bytes()[:100])
    write_self_signed(tmp_path / "tls", "127.0.0.1")
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
