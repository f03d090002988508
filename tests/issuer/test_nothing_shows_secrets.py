"""Neither `repr`, nor an error's text, nor a traceback in a log shows a secret."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from harness import secret_sources, stacks
from harness.issuer_app import PASSWORD, SECRET, USERNAME, IssuerApp

from gateway import Verifier
from issuer.logs import configure_logs
from issuer.sessions.grant import Context
from issuer.sessions.login import login
from keys import DirectoryStore, Envelope, KeyStoreError, UnreadableRing
from keys.pkcs11_token import Pkcs11Token
from tokens import TokenError

PASSPHRASE = "a passphrase for nobody else 7714"
PIN = "a-pin-of-nobody-2290"
LOCAL = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlIG9mIG5vYm9keQ"


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """One whose ring is encrypted."""
    return make_issuer(keys_secret=PASSPHRASE)


def shown(text: str) -> set[str]:
    """The kinds of secrets that a text shows."""
    return {leak.kind for leak in secret_sources.made.leaks(text)}


@stacks.anywhere
def test_no_repr_shows_a_secret(issuer: IssuerApp, tmp_path: Any) -> None:
    """Of settings, the wired parts, keys, stores, grants, resets, a token and a verifier."""
    services = issuer.services
    grant = login(
        services,
        username=USERNAME,
        password=PASSWORD,
        client_id="demo",
        proven_client=None,
        context=Context(),
    )
    issuer.forgot()
    secret_sources.made.add("PIN", PIN)
    known = [
        services.settings,
        services,
        *[getattr(services, name) for name in services.__slots__],
        services.keys.ring,
        *services.keys.ring.keys,
        grant,
        *issuer.sent,
        Envelope(tmp_path, PASSPHRASE, development=False),
        DirectoryStore(tmp_path / "keys", PASSPHRASE),
        Pkcs11Token(tmp_path / "module.so", "label", PIN),
        Verifier(issuer="https://id.example", audience="a", denylist="redis://:pw-of-it-33@h:1/0"),
    ]
    secret_sources.made.add("credential in a URL", "pw-of-it-33")
    assert secret_sources.made.counts["PIN"]
    assert grant.refresh_token not in repr(grant)
    for each in known:
        assert shown(f"{each!r} {each}") == set(), type(each)
    assert shown(f"{grant.access_token} {PIN}") >= {"PIN"}


@stacks.anywhere
def test_no_error_shows_what_it_was_given(issuer: IssuerApp, tmp_path: Any) -> None:
    """Its text, its `repr`, its attributes and its causes."""
    grant = issuer.grant()
    broken = grant["access_token"][:-4] + "AAAA"
    DirectoryStore(tmp_path / "ring", PASSPHRASE).update(lambda _ring: issuer.services.keys.ring)
    attempts: list[Callable[[], object]] = [
        lambda: issuer.services.verifier.verify(broken),
        lambda: issuer.services.sealer.open(broken, 0),
        lambda: issuer.services.sealer.open(grant["refresh_token"][:-4] + "AAAA", 0),
        lambda: DirectoryStore(tmp_path / "ring", "another passphrase altogether").load(),
    ]
    for attempt in attempts:
        with pytest.raises((TokenError, KeyStoreError, UnreadableRing)) as raised:
            attempt()
        error: BaseException | None = raised.value
        while error is not None:
            assert shown(f"{error} {error!r} {vars(error)}") == set()
            error = error.__cause__ or error.__context__


@contextmanager
def standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written there, with logging as it was before afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    caught = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", caught)
        try:
            yield caught
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.reset_defaults()


def fail_with_locals() -> None:
    """Fails while a token and a password are local variables."""
    token, password, secret = LOCAL, PASSWORD, SECRET
    raise RuntimeError(f"failed with {len(token) + len(password) + len(secret)}")


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_a_traceback_in_a_log_has_no_local_variables(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer's own lines and those of libraries; the traceback itself is there."""
    secret_sources.made.add("access token", LOCAL)
    secret_sources.made.add("password", PASSWORD)
    secret_sources.made.add("client secret", SECRET)
    with standard_error(monkeypatch) as caught:
        configure_logs("INFO", as_json=as_json)
        try:
            fail_with_locals()
        except RuntimeError:
            structlog.get_logger("gatepass.issuer").exception("failed")
            logging.getLogger("gatepass.keys").exception("failed too")
            plain = traceback.format_exc()
    text = caught.getvalue()
    assert text.count("fail_with_locals") >= 2, text
    assert shown(text + plain) == set()
