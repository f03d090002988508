"""Asks an issuer so that each operation gives each of its documented answers."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest
from harness.bad_requests import GOOD_KEYS
from harness.factors import ask, authenticator, begin_passkey, enrol_app
from harness.issuer_app import (
    METRICS_TOKEN,
    NEW_PASSWORD,
    OTHER_ORIGIN,
    PASSWORD,
    USERNAME,
    IssuerApp,
    basic,
    bearer,
    browser,
    claims_of,
    follow,
    granted,
)

from issuer.database import DatabaseUnavailable
from issuer.factors import changes
from issuer.notifications.queue import DeliveryQueue
from revocation import DenylistUnavailable


def drive_status_lists(issuer: IssuerApp) -> None:
    """A list, once the issuer's replica is in step."""
    claims = claims_of(issuer.grant(client_id="kiosk")["access_token"])
    path = claims["status"]["status_list"]["uri"]
    path = path[path.index("/status/") :]
    assert issuer.ask("GET", path).status_code == 503
    follow(issuer)
    tag = issuer.ask("GET", path).headers["ETag"]
    issuer.ask("GET", path, headers={"If-None-Match": tag})
    issuer.ask("GET", "/status/unknown")


def drive_feed(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question of a gateway, and each refusal."""
    edge = basic("edge")
    here = issuer.services.denylist.state().position
    nonce = "n" * 22
    question = {"nonce": nonce, "salt": "00", "keys": GOOD_KEYS, "sub_ver": 1, "iat": 1}
    ways: dict[str, dict[str, Any]] = {
        "/revocations": {},
        f"/revocations/state?nonce={nonce}": {},
        f"/revocations/events?after={here.epoch}.{here.seq}.{here.chain}": {},
        "/revocations/lookup": {"method": "POST", "json": question},
    }
    salt = issuer.services.denylist.state().salt.hex()
    for path, options in ways.items():
        sent = {"method": "GET", **options}
        assert issuer.ask(path=path, **sent).status_code == 401
        with monkeypatch.context() as patch:

            def down(*_: object, **__: object) -> None:
                raise DenylistUnavailable("down")

            for name in ("state", "snapshot", "tail", "lookup"):
                patch.setattr(issuer.services.denylist, name, down)
            assert issuer.ask(path=path, headers=edge, **sent).status_code == 503
        if "json" in sent:
            sent["json"] = {**question, "salt": salt}
        response = issuer.ask(path=path, headers=edge, **sent)
        assert response.status_code == 200
        response.close()
    tag = issuer.ask("GET", "/revocations", headers=edge).headers["ETag"]
    issuer.ask("GET", "/revocations", headers={**edge, "If-None-Match": tag})
    issuer.ask("GET", "/revocations/state", headers=edge)
    issuer.ask("GET", "/revocations/events?after=x", headers=edge)
    issuer.ask("GET", "/revocations/events?after=elsewhere.1.", headers=edge)
    issuer.ask("POST", "/revocations/lookup", json={"nonce": "x"}, headers=edge)
    issuer.ask("POST", "/revocations/lookup", data="x", headers=edge)
    other = issuer.ask("POST", "/revocations/lookup", json=question, headers=edge)
    assert other.status_code == 409
    issuer.ask("POST", "/revocations/lookup", data=b"x" * 20_000, headers=edge)
    issuer.ask("POST", "/revocations/lookup", headers={**edge, "Transfer-Encoding": "chunked"})


def drive_factors(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the changes of factors, and each refusal."""
    who = "bob"
    issuer.services.accounts.add(who, PASSWORD)
    held = issuer.grant(username=who)
    token = bearer(held["access_token"])
    cookie = {**token, **browser(origin="https://evil.example")}
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("down")

        patch.setattr(issuer.services.accounts, "standing", down)
        for method, path in (("GET", "/factors"), *FACTOR_CHANGES):
            body = {} if method == "GET" else {"json": RIGHTLY.get(path, {})}
            assert issuer.ask(method, path, headers=token, **body).status_code == 503
    assert issuer.ask("GET", "/factors", headers=bearer("x")).status_code == 401
    for method, path in FACTOR_CHANGES:
        right = RIGHTLY.get(path, {})
        for status, options in (
            (401, {"json": right}),
            (400, {"json": {"transport": 1, "otp": 1, "webauthn": 1}, "headers": token}),
            (415, {"data": "{}", "content_type": "text/plain"}),
            (413, {"data": b"x" * 20_000, "content_type": "application/json"}),
            (411, {"headers": {"Transfer-Encoding": "chunked"}}),
        ):
            assert issuer.ask(method, path, **options).status_code == status, path
        foreign = issuer.ask(method, path, json={**right, "transport": "cookie"}, headers=cookie)
        assert foreign.status_code == (403 if path not in BEGUN else 200)
    for path in ("/totp/confirm", "/webauthn/register"):
        assert ask(issuer, path, held, **RIGHTLY[f"/factors{path}"]).status_code in {400, 404}
    assert ask(issuer, "/recovery-codes", held).status_code == 409
    missing = issuer.ask("DELETE", f"/factors/{'A' * 22}", headers=token)
    assert missing.status_code == 404
    app = enrol_app(issuer, held)
    device = authenticator()
    made = device.create(begin_passkey(issuer, app.grant, otp=app.next_code()))
    grant = granted(ask(issuer, "/webauthn/register", app.grant, webauthn=made))
    listed = granted(issuer.ask("GET", "/factors", headers=bearer(grant["access_token"])))
    made = device.create(begin_passkey(issuer, grant, otp=app.next_code()))
    assert ask(issuer, "/webauthn/register", grant, webauthn=made).status_code == 409
    begun = granted(ask(issuer, "/totp", grant))
    with monkeypatch.context() as patch:
        patch.setattr(changes, "MOST_FACTORS", 2)
        for path in ("/totp", "/webauthn/options"):
            assert ask(issuer, path, grant).status_code == 409
        code = pyotp.TOTP(begun["secret"]).at(issuer.clock())
        confirm = {"id": begun["id"], "otp": code}
        assert ask(issuer, "/totp/confirm", grant, **confirm).status_code == 409
        patch.setattr(issuer.services.factors, "relying_party", None)
        for path in ("/webauthn/options", "/webauthn/register"):
            assert ask(issuer, path, grant, webauthn=made).status_code == 404
    grant = granted(ask(issuer, "/recovery-codes", grant))
    for factor in listed["factors"]:
        path = f"/factors/{factor['id']}"
        grant = granted(issuer.ask("DELETE", path, headers=bearer(grant["access_token"])))


BEGUN = ("/factors/totp", "/factors/webauthn/options")
FACTOR_CHANGES = (
    *(("POST", path) for path in BEGUN),
    ("POST", "/factors/totp/confirm"),
    ("POST", "/factors/webauthn/register"),
    ("POST", "/factors/recovery-codes"),
    ("DELETE", f"/factors/{'A' * 22}"),
)
RIGHTLY: dict[str, dict[str, Any]] = {
    "/factors/totp/confirm": {"id": "A" * 22, "otp": "123456"},
    "/factors/webauthn/register": {"webauthn": {"id": "x"}},
}


def drive_elevation(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An elevation, and each refusal of one."""
    token = bearer(issuer.grant()["access_token"])
    right = {"current_password": PASSWORD}
    foreign = {**token, **browser(origin="https://evil.example")}
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("down")

        patch.setattr(issuer.services.accounts, "standing", down)
        assert issuer.post("/elevate", right, headers=token).status_code == 503
    for status, options in (
        (401, {"json": right}),
        (400, {"json": {**right, "scope": "nobody:has"}, "headers": token}),
        (403, {"json": {**right, "acr": "aal3"}, "headers": token}),
        (403, {"json": {**right, "transport": "cookie"}, "headers": foreign}),
        (415, {"data": "{}", "content_type": "text/plain"}),
        (413, {"data": b"x" * 20_000, "content_type": "application/json"}),
        (411, {"headers": {"Transfer-Encoding": "chunked"}}),
        (200, {"json": {**right, "transport": "body"}, "headers": token}),
    ):
        assert issuer.ask("POST", "/elevate", **options).status_code == status, options


def drive_signals(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls, each refusal of them, and the metadata."""
    metadata = "/.well-known/ssf-configuration"
    assert issuer.ask("GET", metadata).status_code == 200
    with monkeypatch.context() as patch:
        patch.setitem(vars(issuer.services.settings.notifications), "signals", {})
        assert issuer.ask("GET", metadata).status_code == 404
    watcher = basic("watcher")
    granted(issuer.post("/ssf/poll", {}, headers=watcher))
    issuer.post("/ssf/poll", {})
    issuer.post("/ssf/poll", {"maxEvents": "x"}, headers=watcher)
    issuer.ask("POST", "/ssf/poll", data="x", headers=watcher)
    issuer.ask("POST", "/ssf/poll", data=b"x" * 20_000, headers=watcher)
    issuer.ask("POST", "/ssf/poll", headers={**watcher, "Transfer-Encoding": "chunked"})
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("down")

        patch.setattr(DeliveryQueue, "oldest", down)
        assert issuer.post("/ssf/poll", {}, headers=watcher).status_code == 503


def drive_into_limits(issuer: IssuerApp) -> None:
    """Each operation that a limit may refuse, again and again."""
    for path in (
        "/login",
        "/refresh",
        "/elevate",
        "/password",
        "/password/forgot",
        "/password/reset",
    ):
        answers = [issuer.post(path, {"refresh_token": "x"}) for _ in range(2)]
        assert answers[1].status_code == 429
    for method, path in FACTOR_CHANGES:
        answers = [issuer.ask(method, path, json={}) for _ in range(2)]
        assert answers[1].status_code == 429


def drive(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for everything that can be answered."""
    login = {"username": USERNAME, "password": PASSWORD}
    grant = issuer.grant()
    access = bearer(grant["access_token"])
    discovery = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server")
    for path in (*discovery, "/openapi.json", "/healthz", "/readyz"):
        assert issuer.ask("GET", path).status_code == 200
    assert issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).status_code == 200
    issuer.ask("GET", "/metrics")
    for path in (discovery[0], "/password/rules"):
        etag = issuer.ask("GET", path).headers["ETag"]
        issuer.ask("GET", path, headers={"If-None-Match": etag})

    json_paths = ("/login", "/refresh", "/logout", "/password", "/password/forgot")
    for path in (*json_paths, "/password/reset"):
        issuer.post(path, {"transport": 1, "refresh_token": 1})
        issuer.ask("POST", path, data="{}", content_type="text/plain")
    for path in ("/revoke", "/introspect"):
        issuer.ask("POST", path, data="a", content_type="application/x-www-form-urlencoded")
        issuer.ask("POST", path, data={}, headers=basic("rs"))
        issuer.ask("POST", path, data={"token": "x"}, headers=basic("rs", "wrong"))
        issuer.ask("POST", path, data="{}", content_type="application/json")
    for path in (*json_paths, "/password/reset", "/revoke", "/introspect"):
        issuer.ask("POST", path, data=b"x" * 20_000, content_type="application/json")
        issuer.ask("POST", path, headers={"Transfer-Encoding": "chunked"})

    issuer.post("/login", login)
    issuer.login(client_id="backend")
    issuer.post("/refresh", headers=browser("x", OTHER_ORIGIN + "x"))
    issuer.post("/logout", headers=browser("x", OTHER_ORIGIN + "x"))
    issuer.post("/refresh", {"refresh_token": "x"}, headers=basic("rs", "wrong"))
    granted(issuer.refresh(grant["refresh_token"]))
    issuer.post("/logout", headers=bearer("x"))
    granted(issuer.logout(issuer.grant()["refresh_token"]))

    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    issuer.post("/password", {**change, "transport": "cookie"}, headers=access)
    issuer.post("/password", change)

    issuer.sessions("x")
    granted(issuer.sessions(grant["access_token"]))
    for sid, headers in (("A" * 22, access), ("A" * 22, bearer("x"))):
        issuer.ask("DELETE", f"/sessions/{sid}", headers=headers)
    sid = issuer.grant()["session"]["sid"]
    issuer.ask("DELETE", f"/sessions/{sid}", headers=access)
    issuer.ask("DELETE", "/sessions", headers=bearer("x"))
    issuer.introspect(grant["access_token"])
    issuer.revoke(issuer.grant()["access_token"])

    issuer.post("/password/reset", {"token": issuer.forgot(), "new_password": PASSWORD})
    access = bearer(issuer.grant()["access_token"])

    with monkeypatch.context() as patch:
        patch.setattr(issuer.services.resets, "_sender", None)
        issuer.post("/password/forgot", {"username": USERNAME})
    with monkeypatch.context() as patch:
        from issuer.accounts import Conflict

        def conflict(*_: object, **__: object) -> None:
            raise Conflict("overtaken")

        patch.setattr(issuer.services.accounts, "change_password", conflict)
        issuer.post("/password", change, headers=access)
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise DenylistUnavailable("down")

        patch.setattr(issuer.services.resets, "request", lambda _: False)
        for name in ("by_username", "standing", "reset_password"):
            patch.setattr(issuer.services.accounts, name, down)
        patch.setattr(issuer.services.denylist, "state", down)
        patch.setattr(issuer.services.denylist, "add", down)
        patch.setattr(issuer.services.journal, "append", down)
        issuer.login()
        token = grant["refresh_token"]
        issuer.refresh(token)
        issuer.logout(token)
        issuer.post("/password", change, headers=access)
        issuer.post("/password/forgot", {"username": USERNAME})
        issuer.post("/password/reset", {"token": "x", "new_password": PASSWORD})
        for method, path in (("GET", "/sessions"), ("DELETE", "/sessions")):
            issuer.ask(method, path, headers=access)
        issuer.ask("DELETE", f"/sessions/{'A' * 22}", headers=access)
        issuer.revoke(token)
        issuer.introspect(grant["access_token"])
        issuer.ask("GET", "/readyz")
    granted(issuer.post("/password", change, headers=access))
    access = bearer(issuer.grant(password=NEW_PASSWORD)["access_token"])
    granted(issuer.ask("DELETE", "/sessions", headers=access))
