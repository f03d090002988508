"""The issuer as its clients meet it: that it answers, and for how long its certificate holds."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ..certificates import end_of
from .deployment import Deployment, is_loopback_url
from .finding import Finding, fail, ok, unknown, warn
from .looking import BadCertificate, NoAnswer

SOON = 21
"""Days: three weeks before, an ACME client has tried for more than a week."""
AT_ONCE = 7
_DAY = 86_400


def issuer_tls(deployment: Deployment) -> Iterator[Finding]:
    """Alive, ready, and a certificate that holds."""
    url = deployment.issuer
    try:
        alive = deployment.ask(f"{url}/healthz")
        ready = deployment.ask(f"{url}/readyz")
    except BadCertificate as error:
        yield fail(
            "certificate",
            f"{url}: {error}",
            "no gateway fetches keys from it, and no browser talks to it",
            "renew or complete the chain; --issuer-ca names an authority of your own",
        )
        return
    except NoAnswer as error:
        yield unknown(
            "issuer",
            f"{url} does not answer from here: {error}",
            "its clock, certificate and stores could not be seen",
            "start it, or give --issuer-url an address at which this host reaches it",
        )
        return
    if alive.certificate_end is not None:
        yield _judged("certificate", alive.certificate_end - deployment.clock())
    elif not is_loopback_url(url):
        yield fail(
            "certificate",
            f"{url} is plain http",
            "passwords and tokens can be read on their way (ASVS 12.2.1)",
            "serve it over TLS",
        )
    if ready.status == 200:
        yield ok("issuer", "alive and ready")
    else:
        yield fail(
            "issuer",
            f"/readyz answers {ready.status}: {ready.body[:200].decode(errors='replace').strip()}",
            "it cannot do its work",
            "docs/operations/runbooks.md#the-issuer-is-not-ready",
        )


def tls_files(deployment: Deployment) -> Iterator[Finding]:
    """The certificate and key that the issuer serves itself."""
    settings = deployment.settings
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    try:
        end = end_of(settings.tls_certificate.read_bytes())
        mode = stat.S_IMODE(settings.tls_key.stat().st_mode)
    except (OSError, ValueError) as error:
        yield fail(
            "tls-files",
            f"tls_certificate or tls_key cannot be read: {type(error).__name__}",
            "the next start or reload is refused",
            "put the files where the settings say, for the issuer's user to read",
        )
        return
    yield _judged("tls-files", end - deployment.clock())
    if mode & 0o027:
        yield fail(
            "tls-key",
            f"{settings.tls_key} has mode {mode:04o}",
            "others can take the key and pass for the issuer",
            f"chmod 0640 {settings.tls_key}, or less",
        )


def _judged(check: str, left: float) -> Finding:
    days = int(left // _DAY)
    if left <= 0:
        return fail(
            check, "it is over", "no client trusts the issuer any more", "renew it, then SIGHUP"
        )
    told = (
        f"{days} days left",
        "after that no client trusts the issuer any more",
        "renew it, then SIGHUP; docs/operations/runbooks.md#the-certificate-is-nearly-over",
    )
    if days < AT_ONCE:
        return fail(check, *told)
    return warn(check, *told) if days < SOON else ok(check, f"{days} days left")
