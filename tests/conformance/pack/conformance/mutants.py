"""Targets that are broken on purpose: what lies between a check and a good one changes an answer.

Each check names those that it must find fault with, so that none passes whatever is answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from conformance.client import Answer, Http
from conformance.forging import as_segment
from conformance.target import Target

JUNK = f"{as_segment({'alg': 'none', 'typ': 'JWT'})}.{as_segment({'x': 1})}."
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def _answer(status: int, body: Mapping[str, Any]) -> Answer:
    return Answer(status, _JSON, json.dumps(body).encode())


def _with_body(answer: Answer, **changes: Any) -> Answer:
    return Answer(answer.status, answer.headers, json.dumps({**answer.json, **changes}).encode())


class Mutant(Http):
    """Passes requests on to a good target."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.real = target.http

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return self.real.send(method, url, headers, body)

    def is_at(self, url: str, *paths: str) -> bool:
        """Whether a URL is one of these paths of the issuer, or below it."""
        path = urlsplit(url).path
        return any(path == known or path.startswith(f"{known}/") for known in paths if known != "/")

    def is_api(self, url: str) -> bool:
        return bool(self.target.api_url) and url.startswith(self.target.api_url)

    def grants(self, url: str) -> bool:
        paths = self.target.paths
        return self.is_at(url, paths.login, paths.refresh)


class CredulousApi(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_api(url):
            return _answer(200, {"sub": "whoever"})
        return super().send(method, url, headers, body)


class DeafApi(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_api(url):
            return _answer(401, {"error": "invalid_token"})
        return super().send(method, url, headers, body)


class RudeApi(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        return Answer(answer.status, _JSON, b"{}") if self.is_api(url) else answer


class JunkTokens(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if self.grants(url) and answer.status == 200:
            return _answer(200, {"access_token": JUNK, "refresh_token": "r"})
        return answer


class CredulousLogin(Mutant):
    """Whoever asks is logged in."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, self.target.paths.login):
            return _answer(200, {"access_token": JUNK, "refresh_token": "r"})
        return super().send(method, url, headers, body)


class ForgetfulTokens(Mutant):
    """A refresh gives a token that says nothing."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if self.is_at(url, self.target.paths.refresh) and answer.status == 200:
            return _with_body(answer, access_token=JUNK)
        return answer


class CompressedRefresh(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if self.grants(url):
            return _with_body(answer, refresh_token=f"{as_segment({'zip': 'DEF'})}.a.b.c.d")
        return answer


class SameTokens(Mutant):
    """Whoever asks for tokens gets those of the first login."""

    first: Answer | None = None

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if not self.grants(url):
            return super().send(method, url, headers, body)
        if self.first is None:
            self.first = super().send(method, url, headers, body)
        return self.first


class ForgivingRefresh(Mutant):
    """A refresh that is refused gets what was granted last."""

    last = _answer(200, {"access_token": JUNK, "refresh_token": "r"})

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if self.grants(url) and answer.status == 200:
            self.last = answer
        return self.last if self.is_at(url, self.target.paths.refresh) else answer


class DeafRefresh(Mutant):
    """No refresh says that the person did something."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, self.target.paths.refresh):
            body = json.dumps({**json.loads(body or b"{}"), "active_ago": 1e9}).encode()
        return super().send(method, url, headers, body)


class DeafEnds(Mutant):
    """Whatever should end something is acknowledged and not done."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        paths = self.target.paths
        ends = self.is_at(url, paths.logout, paths.password, "/revoke") or method == "DELETE"
        return _answer(200, {}) if ends else super().send(method, url, headers, body)


class StrictRevocation(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, "/revoke"):
            return _answer(400, {"error": "invalid_request"})
        return super().send(method, url, headers, body)


class PoliteOAuth(Mutant):
    """Revocation and introspection refuse nothing."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if len(body or b"") > 100_000:
            return _answer(200, {})
        answer = super().send(method, url, headers, body)
        polite = self.is_at(url, "/revoke", "/introspect") and answer.status >= 400
        return _answer(200, {"active": False}) if polite else answer


class PoliteSecrets(Mutant):
    """Whoever logs in must name a secret."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, self.target.paths.login) and "Authorization" not in headers:
            return _answer(401, {"error": "invalid_client"})
        return super().send(method, url, headers, body)


def _introspection(change: Callable[[Mutant, Answer], Answer]) -> type[Mutant]:
    class Changed(Mutant):
        def send(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
        ) -> Answer:
            answer = super().send(method, url, headers, body)
            return change(self, answer) if self.is_at(url, "/introspect") else answer

    return Changed


class OpenIntrospection(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if self.is_at(url, "/introspect") and answer.status == 401:
            return _answer(200, {"active": True})
        return answer


class BareAnswers(Mutant):
    """No header but the type."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        return replace(answer, headers=(("Content-Type", "application/json"),))


class LooseCookie(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        loose = f"session=a.{self.target.username}.b; Domain=example.org; Max-Age=99999999"
        kept = tuple(pair for pair in answer.headers if pair[0].lower() != "set-cookie")
        set_any = len(kept) < len(answer.headers)
        return replace(answer, headers=(*kept, ("Set-Cookie", loose))) if set_any else answer


class LastingCookie(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        lasting = tuple(
            (name, value + "; Max-Age=99999999" if name.lower() == "set-cookie" else value)
            for name, value in answer.headers
        )
        return replace(answer, headers=lasting)


class BlindToOrigins(Mutant):
    """Every page passes for the issuer's own."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        own = {**headers, "Origin": self.target.own_origin, "Sec-Fetch-Site": "same-origin"}
        return super().send(method, url, own, body)


class ClosedToOrigins(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if method == "OPTIONS":
            return _answer(405, {})
        return super().send(method, url, headers, body)


class OpenToOrigins(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if method != "OPTIONS":
            return super().send(method, url, headers, body)
        named = ("Access-Control-Allow-Origin", headers["Origin"])
        return Answer(204, (named, ("Access-Control-Allow-Credentials", "true")), b"")


class VagueJwks(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if "jwks" not in url:
            return answer
        keys = answer.json["keys"]
        again = [{**key, "alg": "ES384", "kid": f"{number}"} for number, key in enumerate(keys)]
        return _answer(200, {"keys": [*keys, *again, {"kty": "oct", "k": "c2VjcmV0"}]})


class NoMetadata(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, self.target.paths.metadata):
            return _answer(404, {})
        return super().send(method, url, headers, body)


class VagueMetadata(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        if not self.is_at(url, self.target.paths.metadata):
            return answer
        return _with_body(
            answer,
            issuer="https://id.example",
            revocation_endpoint=f"{self.target.base_url}/revoke#here",
            response_types_supported=["code token"],
            grant_types_supported=["password"],
        )


class PasswordGrant(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, "/token"):
            return _answer(200, {"access_token": JUNK})
        return super().send(method, url, headers, body)


class OneAudience(Mutant):
    """Whatever client logs in, the tokens are the first one's."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_at(url, self.target.paths.login):
            body = json.dumps(
                {**json.loads(body or b"{}"), "client_id": self.target.client_id}
            ).encode()
        return super().send(method, url, headers, body)


class Redirecting(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if "elsewhere" in url:
            return Answer(302, (("Location", url.rpartition("=")[2]),), b"")
        return super().send(method, url, headers, body)


class ForeignPage(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if method == "GET" and url == self.target.base_url + self.target.paths.page:
            return Answer(200, (), b'<script src="https://cdn.example/x.js"></script>')
        return super().send(method, url, headers, body)


class CredulousPassword(Mutant):
    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = super().send(method, url, headers, body)
        return _answer(200, {}) if self.is_at(url, self.target.paths.password) else answer


MUTANTS: dict[str, Callable[[Target], Http]] = {
    "credulous API": CredulousApi,
    "deaf API": DeafApi,
    "rude API": RudeApi,
    "credulous login": CredulousLogin,
    "junk tokens": JunkTokens,
    "forgetful tokens": ForgetfulTokens,
    "compressed refresh": CompressedRefresh,
    "same tokens": SameTokens,
    "forgiving refresh": ForgivingRefresh,
    "deaf refresh": DeafRefresh,
    "deaf ends": DeafEnds,
    "strict revocation": StrictRevocation,
    "polite OAuth": PoliteOAuth,
    "polite secrets": PoliteSecrets,
    "open introspection": OpenIntrospection,
    "all active": _introspection(lambda _, __: _answer(200, {"active": True, "sub": "x"})),
    "all inactive": _introspection(lambda _, __: _answer(200, {"active": False})),
    "lasting introspection": _introspection(
        lambda _, answer: replace(
            answer, headers=(*answer.headers, ("Cache-Control", "public, max-age=99999999"))
        )
    ),
    "chatty introspection": _introspection(lambda _, answer: _with_body(answer, reason="because")),
    "bare answers": BareAnswers,
    "loose cookie": LooseCookie,
    "lasting cookie": LastingCookie,
    "blind to origins": BlindToOrigins,
    "closed to origins": ClosedToOrigins,
    "open to origins": OpenToOrigins,
    "vague JWKS": VagueJwks,
    "no metadata": NoMetadata,
    "vague metadata": VagueMetadata,
    "password grant": PasswordGrant,
    "one audience": OneAudience,
    "redirecting": Redirecting,
    "foreign page": ForeignPage,
    "credulous password": CredulousPassword,
}


def broken(target: Target, mutant: str) -> Target:
    """The target with one thing wrong."""
    made = MUTANTS[mutant](target)
    # What never becomes true need not be waited for as long.
    return replace(target, http=made, bound=0.3, patience=2.2)
