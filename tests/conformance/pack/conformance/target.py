"""What is checked: an issuer and an API that takes its tokens, described by a few options."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from conformance.client import Answer, Http
from conformance.forging import Forge, claims_of, random_id

METADATA = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh gave."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)

    @property
    def claims(self) -> dict[str, Any]:
        """The access token's claims, unverified."""
        return claims_of(self.access)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a project has what no standard places. An empty one is not offered."""

    login: str = "/login"
    refresh: str = "/refresh"
    logout: str = "/logout"
    sessions: str = "/sessions"
    password: str = "/password"
    page: str = "/"
    metadata: str = METADATA


@dataclass
class Target:
    """One deployment. Whatever is left out, the checks that need it are not run."""

    base_url: str
    username: str
    password: str = field(repr=False)
    client_id: str = ""
    api_url: str = ""
    paths: Paths = Paths()
    refresh_in: str = "body"
    """Where a refresh takes its token: `body` (JSON) or `bearer`."""
    introspector: tuple[str, str] | None = field(default=None, repr=False)
    """Id and secret of a client that may introspect tokens for the API."""
    outsider: tuple[str, str] | None = field(default=None, repr=False)
    """The same of a client that may introspect tokens of another API only."""
    other_client: str = ""
    """A public client whose tokens are for another API."""
    idle_client: str = ""
    """One whose sessions end after a second or two without activity."""
    absolute_client: str = ""
    """One whose sessions end a second or two after the login."""
    origin: str = ""
    """An origin, not the issuer's own, whose pages may call."""
    signing_jwk: Mapping[str, Any] | None = field(default=None, repr=False)
    """The issuer's private signing key: some wrong tokens cannot be made without it."""
    grace: float = 0.0
    """Seconds for which a spent refresh token may be answered again, as the issuer documents."""
    bound: float = 5.0
    """Seconds within which a revocation must have reached the API, as the issuer documents."""
    patience: float = 6.0
    """Seconds to wait for the end of a session of `idle_client` or `absolute_client`."""
    http: Http = field(default_factory=Http, repr=False)

    # --- what it offers ----------------------------------------------------------------------

    @property
    def offers(self) -> frozenset[str]:
        """Names of what checks may need."""
        there: dict[str, object] = {
            "api": self.api_url,
            "key": self.signing_jwk,
            "introspection": self.introspector,
            "outsider": self.outsider,
            "other": self.other_client,
            "idle": self.idle_client,
            "absolute": self.absolute_client,
            "origin": self.origin,
            "sessions": self.paths.sessions,
            "password": self.paths.password,
            "logout": self.paths.logout,
            "page": self.paths.page,
            "metadata": self.paths.metadata,
            "body": self.refresh_in == "body",
        }
        return frozenset(name for name, value in there.items() if value)

    def metadata(self) -> dict[str, Any]:
        """The issuer's metadata (RFC 8414), which must be there."""
        answer = self.get(self.base_url + self.paths.metadata)
        assert answer.status == 200, f"the metadata are answered {answer.status}"
        return answer.json

    def jwks(self) -> list[dict[str, Any]]:
        """The keys that the metadata lead to."""
        answer = self.get(str(self.metadata()["jwks_uri"]))
        assert answer.status == 200, f"the JWKS is answered {answer.status}"
        keys = answer.json["keys"]
        assert keys, "the JWKS is empty"
        return list(keys)

    def endpoint(self, name: str) -> str:
        """An endpoint's address, by its name in the metadata."""
        return str(self.metadata()[f"{name}_endpoint"])

    # --- requests ----------------------------------------------------------------------------

    def get(self, url: str, **headers: str) -> Answer:
        """GET, with headers whose underscores are hyphens."""
        return self.http.send("GET", url, _named(headers), None)

    def post_json(self, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        """POST a JSON object to a path of the issuer."""
        sent = {"Content-Type": "application/json", **_named(headers)}
        return self.http.send("POST", self.base_url + path, sent, json.dumps(body).encode())

    def post_form(self, url: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """POST a form."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **_named(headers)}
        return self.http.send("POST", url, sent, urlencode(fields).encode())

    # --- sessions ----------------------------------------------------------------------------

    @property
    def own_origin(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def ask_login(self, *, transport: str = "body", origin: str = "", **fields: Any) -> Answer:
        """A login, whatever is answered."""
        body = {"username": self.username, "password": self.password, "transport": transport}
        if self.client_id:
            body["client_id"] = self.client_id
        headers = {"Origin": origin} if origin else {}
        return self.post_json(self.paths.login, {**body, **fields}, **headers)

    def login(self, **fields: Any) -> Tokens:
        """A login that succeeds."""
        return granted(self.ask_login(**fields))

    def refresh(self, token: str, **fields: Any) -> Answer:
        """A refresh, whatever is answered."""
        if self.refresh_in == "bearer":
            return self.post_json(self.paths.refresh, fields, Authorization=f"Bearer {token}")
        return self.post_json(self.paths.refresh, {"refresh_token": token, **fields})

    def next(self, tokens: Tokens, **fields: Any) -> Tokens:
        """The tokens of a refresh that succeeds."""
        return granted(self.refresh(tokens.refresh, **fields))

    def logout(self, tokens: Tokens) -> None:
        """A logout that succeeds."""
        if self.refresh_in == "bearer":
            answer = self.post_json(self.paths.logout, {}, Authorization=f"Bearer {tokens.access}")
        else:
            answer = self.post_json(self.paths.logout, {"refresh_token": tokens.refresh})
        assert answer.status < 300, f"the logout is answered {answer.status}"

    def change_password(self, tokens: Tokens, current: str, new: str) -> Answer:
        """A change of the password, whatever is answered."""
        body = {"current_password": current, "new_password": new, "transport": "body"}
        return self.post_json(self.paths.password, body, Authorization=f"Bearer {tokens.access}")

    def let_grace_pass(self) -> None:
        """Wait until a token that is handed out by now may be spent for good."""
        time.sleep(self.grace * 1.2)

    def cannot_refresh(self, tokens: Tokens) -> None:
        """The refresh token is worth nothing."""
        answer = self.refresh(tokens.refresh)
        assert 400 <= answer.status < 500, f"the refresh is answered {answer.status}"

    # --- the API -----------------------------------------------------------------------------

    def api(self, token: str) -> Answer:
        """A call of the API."""
        return self.get(self.api_url, Authorization=f"Bearer {token}")

    def accepts(self, token: str) -> None:
        """The API takes this token."""
        answer = self.api(token)
        assert answer.status == 200, f"a good token is answered {answer.status}"

    def refuses(self, token: str, what: str) -> None:
        """The API refuses this token."""
        answer = self.api(token)
        assert 400 <= answer.status < 500, f"{what} is answered {answer.status}"

    def refuses_soon(self, token: str, what: str) -> None:
        """The API refuses a token that was good, within the bound."""
        self.becomes(
            lambda: 400 <= self.api(token).status < 500, self.bound, f"{what} is still taken"
        )

    def becomes(
        self, true: Callable[[], bool], seconds: float, otherwise: str, pause: float = 0.02
    ) -> None:
        """Something is true within so many seconds."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"{otherwise} after {seconds} s"
            time.sleep(pause)

    def ends(self, tokens: Tokens) -> None:
        """A session that is short ends by itself, refreshed or not."""
        self.becomes(
            lambda: 400 <= self.refresh(tokens.refresh).status < 500,
            self.patience,
            "the session goes on",
            # Refreshes of one session are limited.
            pause=0.1,
        )

    def forge(self) -> Forge:
        """Makes tokens that are right but for what a check changes; it needs the key."""
        assert self.signing_jwk is not None
        return Forge(self.signing_jwk, self.login().access)

    # --- OAuth endpoints ---------------------------------------------------------------------

    def introspect(
        self, token: str, client: tuple[str, str] | None = None, **fields: str
    ) -> Answer:
        """RFC 7662 introspection, as `client` or as the one that may."""
        assert self.introspector is not None
        return self.post_form(
            self.endpoint("introspection"),
            {"token": token, **fields},
            Authorization=basic(*(client or self.introspector)),
        )

    def is_active(self, token: str) -> bool:
        """Whether introspection calls a token active."""
        answer = self.introspect(token)
        assert answer.status == 200, f"introspection is answered {answer.status}"
        active = answer.json.get("active")
        assert isinstance(active, bool), "active is no boolean"
        return active

    def revoke(self, token: str, **fields: str) -> Answer:
        """RFC 7009 revocation by the public client."""
        named = {"client_id": self.client_id} if self.client_id else {}
        return self.post_form(self.endpoint("revocation"), {"token": token, **named, **fields})


def granted(answer: Answer) -> Tokens:
    """The tokens of an answer that must be 200."""
    assert answer.status == 200, f"tokens were asked for and {answer.status} was answered"
    body = answer.json
    return Tokens(str(body["access_token"]), str(body.get("refresh_token", "")), body)


def basic(client_id: str, secret: str) -> str:
    """An `Authorization` header (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def nonsense() -> str:
    """Something that is no token."""
    return f"no.token.{random_id()}"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
