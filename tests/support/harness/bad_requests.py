"""Malformed requests to every endpoint of an issuer, each otherwise one that would succeed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyotp
from harness.factors import ask, authenticator, begin_passkey, enrol_app
from harness.issuer_app import (
    METRICS_TOKEN,
    NEW_PASSWORD,
    PASSWORD,
    SECRET,
    USERNAME,
    IssuerApp,
    basic,
    bearer,
    browser,
    granted,
)

from issuer.http.body import MAX_BODY

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass
class World:
    """An issuer, and the tokens that make a request one that would succeed."""

    issuer: IssuerApp
    access: str = ""
    refresh: str = ""
    reset: str = ""
    other_sid: str = ""
    expired: str = ""
    enrolment: str = ""
    """Of an authenticator app that waits for its first code."""
    app: pyotp.TOTP = field(default_factory=lambda: pyotp.TOTP("A" * 32))
    passkey: dict[str, Any] = field(default_factory=dict)
    """An answer to registration options."""
    factor: str = ""
    recovery: str = ""

    @classmethod
    def of(cls, issuer: IssuerApp, *, factor: bool = False) -> World:
        """Log in twice, ask for a reset, and have an access token that has expired.

        The login is older than what stands in for a password. With `factor` the person has one.
        """
        expired = issuer.grant()["access_token"]
        issuer.clock.advance(400)
        issuer.services.keys.tick()
        app = enrol_app(issuer) if factor else None
        grant = app.grant if app else issuer.grant()
        other = granted(issuer.login(otp=app.next_code()) if app else issuer.login())
        reset = issuer.forgot()
        assert reset is not None
        world = cls(issuer, reset=reset, other_sid=other["session"]["sid"], expired=expired)
        if app:
            kept = {"end_other_sessions": False}
            world.factor = app.id
            world.recovery = granted(ask(issuer, "/recovery-codes", grant, **kept))[
                "recovery_codes"
            ][0]
        else:
            begun = granted(ask(issuer, "/totp", grant))
            world.enrolment, world.app = begun["id"], pyotp.TOTP(begun["secret"])
            world.passkey = authenticator().create(begin_passkey(issuer, grant))
        issuer.clock.advance(300)
        issuer.services.keys.tick()
        renewed = granted(issuer.refresh(grant["refresh_token"]))
        world.access, world.refresh = renewed["access_token"], renewed["refresh_token"]
        return world


@dataclass(frozen=True)
class Field:
    """A field of a body: whether it must be there, and its bad values."""

    required: bool
    bad: tuple[Any, ...]


NOT_TEXT: tuple[Any, ...] = (0, 1.5, True, False, [], ["x"], {}, {"x": "y"}, "")
CONTROL = ("\0", "a\0b", "a\nb", "\x1b[2J", "\x85")


def text(longest: int, *, required: bool = True, **more: Any) -> Field:
    """A text of limited length."""
    bad = (*NOT_TEXT, "x" * (longest + 1), *more.get("bad", ()))
    return Field(required, bad)


def line(longest: int, *, required: bool = True) -> Field:
    """A text without control characters."""
    return text(longest, required=required, bad=CONTROL)


TRANSPORT = Field(False, (*NOT_TEXT, "Cookie", "header", "body\0", "cookie "))
LABEL = line(64, required=False)
SECONDS = Field(
    False,
    ("", "1", True, [], {}, [1], -1, -0.001, -1e-300, 1_000_000_001, 10**400, -(10**400)),
)


@dataclass(frozen=True)
class Endpoint:
    """How to ask one endpoint rightly; the cases then go wrong in one thing each."""

    method: str
    path: str
    body: Callable[[World], dict[str, Any]] = lambda _: {}
    headers: Callable[[World], dict[str, str]] = lambda _: {}
    fields: dict[str, Field] = field(default_factory=dict)
    kind: str | None = JSON
    bearer: bool = False
    basic: bool = False
    query: Callable[[World], dict[str, str]] = lambda _: {}
    bad_queries: tuple[dict[str, str], ...] = ()
    factor: bool = False
    """Whether it needs a person with a second factor."""

    def world(self, issuer: IssuerApp) -> World:
        """One in which it can be asked rightly."""
        return World.of(issuer, factor=self.factor)

    def path_in(self, world: World) -> str:
        """Its path, filled in."""
        return self.path.replace("{sid}", world.other_sid).replace("{factor_id}", world.factor)

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{self.method}{self.path.replace('/', '-')}"


def _new(world: World) -> dict[str, Any]:
    return {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}


def _question(world: World) -> dict[str, Any]:
    salt = world.issuer.services.denylist.state().salt.hex()
    return {"nonce": NONCE, "salt": salt, "keys": GOOD_KEYS, "sub_ver": 1, "iat": 1}


def _cursor(world: World) -> dict[str, str]:
    position = world.issuer.services.denylist.state().position
    return {"after": f"{position.epoch}.{position.seq}.{position.chain}"}


CODE = line(64, required=False)
OBJECT = Field(False, (0, 1.5, True, False, [], ["x"], "", "x"))
FLAG = Field(False, (0, 1, "", "true", [], {}))
PROOF = {
    # Nobody's password, and no wrong one of the person's beyond a few: guesses are counted.
    "current_password": text(256, bad=("\0", "wrong")),
    "otp": CODE,
    "recovery_code": CODE,
    "webauthn": OBJECT,
}
WISH = {"end_other_sessions": FLAG, "transport": TRANSPORT, "session_label": LABEL}


def _with_recovery(world: World) -> dict[str, Any]:
    return {"current_password": PASSWORD, "recovery_code": world.recovery}


def _first_code(world: World) -> dict[str, Any]:
    return {"id": world.enrolment, "otp": world.app.at(world.issuer.clock())}


NONCE = "n" * 22
BAD_NONCES = ("", "short", "x" * 65, "n" * 21 + "=", "é" * 22, "n" * 22 + "\n", "\0" * 22)
GOOD_KEYS = [kind.encode().hex() + "00" * 16 for kind in "tsukc"]
NOT_KEYS = (
    [], ["00"], ["00"] * 65, ["0"] * 5, ["zz"] * 5, [1] * 5, [None] * 5, ["0" * 130] * 5,
    GOOD_KEYS[:3], GOOD_KEYS[::-1], [*GOOD_KEYS, GOOD_KEYS[0]], [key + "00" for key in GOOD_KEYS],
    [key[:-2] for key in GOOD_KEYS],
)  # fmt: skip
NOT_A_POSITION = ({"epoch": "e"}, {"epoch": "e", "seq": "1", "chain": ""}, [], "e.1.", 1, True)
CHAIN = "0" * 40
BAD_CURSORS = (
    "", "e", "e.1", "e.-1.", f"e.x.{CHAIN}", f".1.{CHAIN}", f"e.1.{CHAIN}0", "e.1.é", "e.1.\0",
    f"e.1.{CHAIN.replace('0', 'G')}", f"{'e' * 65}.1.{CHAIN}", f"e.{'9' * 16}.{CHAIN}",
    "e.²."
)  # fmt: skip

ENDPOINTS = (
    Endpoint(
        "POST",
        "/login",
        lambda _: {"username": USERNAME, "password": PASSWORD, "transport": "body"},
        fields={
            "username": line(320),
            "password": text(256, bad=("\0", PASSWORD + "\0")),
            "client_id": line(255, required=False),
            "transport": TRANSPORT,
            "label": LABEL,
            "otp": CODE,
            "recovery_code": CODE,
            "webauthn": OBJECT,
        },
    ),
    Endpoint(
        "POST",
        "/refresh",
        lambda world: {"refresh_token": world.refresh},
        fields={
            "refresh_token": text(8192, bad=("\0", "x.y.z", "é", "....", "." * 8000)),
            "active_ago": SECONDS,
        },
    ),
    Endpoint(
        "POST",
        "/logout",
        lambda world: {"refresh_token": world.refresh},
        # A text that is no token of ours has nothing to end, which is no error.
        fields={"refresh_token": text(8192)},
    ),
    Endpoint(
        "POST",
        "/password",
        _new,
        lambda world: bearer(world.access),
        fields={
            "current_password": text(256, bad=("\0", PASSWORD + "\0", "wrong")),
            "new_password": text(256, bad=("\0", "short", "x" * 256)),
            "transport": TRANSPORT,
            "label": LABEL,
            "otp": CODE,
            "recovery_code": CODE,
            "webauthn": OBJECT,
        },
        bearer=True,
    ),
    Endpoint("GET", "/factors", headers=lambda world: bearer(world.access), kind=None, bearer=True),
    Endpoint(
        "POST",
        "/factors/totp",
        lambda _: {"current_password": PASSWORD},
        lambda world: bearer(world.access),
        fields={**PROOF, "label": LABEL},
        bearer=True,
    ),
    Endpoint(
        "POST",
        "/factors/totp/confirm",
        _first_code,
        lambda world: bearer(world.access),
        fields={
            "id": Field(True, (*NOT_TEXT, *CONTROL, "A" * 22, "x" * 65)),
            "otp": Field(True, (*NOT_TEXT, *CONTROL, "12345", "abcdef", "x" * 65)),
            **WISH,
        },
        bearer=True,
    ),
    Endpoint(
        "POST",
        "/factors/webauthn/options",
        lambda _: {"current_password": PASSWORD},
        lambda world: bearer(world.access),
        fields=PROOF,
        bearer=True,
    ),
    Endpoint(
        "POST",
        "/factors/webauthn/register",
        lambda world: {"webauthn": world.passkey},
        lambda world: bearer(world.access),
        fields={
            "webauthn": Field(
                True, (*OBJECT.bad, {}, {"response": 1}, {"response": {"clientDataJSON": "e30"}})
            ),
            "label": LABEL,
            **WISH,
        },
        bearer=True,
    ),
    Endpoint(
        "POST",
        "/factors/recovery-codes",
        _with_recovery,
        lambda world: bearer(world.access),
        fields={**PROOF, **WISH},
        bearer=True,
        factor=True,
    ),
    Endpoint(
        "DELETE",
        "/factors/{factor_id}",
        _with_recovery,
        lambda world: bearer(world.access),
        fields={**PROOF, **WISH},
        bearer=True,
        factor=True,
    ),
    Endpoint(
        "POST",
        "/elevate",
        lambda _: {"current_password": PASSWORD, "transport": "body"},
        lambda world: bearer(world.access),
        fields={
            "current_password": text(256, bad=("\0", PASSWORD + "\0", "wrong")),
            "scope": text(1024, required=False, bad=(*CONTROL, "nobody:has", "read\twrite")),
            "acr": Field(False, (*NOT_TEXT, "aal0", "AAL1", "aal1 ", "aal1 aal2")),
            "transport": TRANSPORT,
            "label": LABEL,
        },
        bearer=True,
    ),
    Endpoint(
        "POST",
        "/password/forgot",
        lambda _: {"username": USERNAME},
        fields={"username": line(320)},
    ),
    Endpoint(
        "POST",
        "/password/reset",
        lambda world: {"token": world.reset, "new_password": NEW_PASSWORD},
        fields={
            "token": text(256, bad=("\0", "wrong", "é")),
            "new_password": text(256, bad=("\0", "short", "x" * 256)),
        },
    ),
    Endpoint("POST", "/revoke", lambda world: {"token": world.access}, kind=FORM),
    Endpoint(
        "POST",
        "/introspect",
        lambda world: {"token": world.access},
        lambda _: basic("rs"),
        kind=FORM,
        basic=True,
    ),
    Endpoint(
        "GET", "/sessions", headers=lambda world: bearer(world.access), kind=None, bearer=True
    ),
    Endpoint(
        "DELETE", "/sessions", headers=lambda world: bearer(world.access), kind=None, bearer=True
    ),
    Endpoint(
        "DELETE", "/sessions/{sid}", headers=lambda w: bearer(w.access), kind=None, bearer=True
    ),
    Endpoint("GET", "/metrics", headers=lambda _: bearer(METRICS_TOKEN), kind=None, bearer=True),
    Endpoint("GET", "/revocations", headers=lambda _: basic("edge"), kind=None, basic=True),
    Endpoint(
        "GET",
        "/revocations/state",
        headers=lambda _: basic("edge"),
        kind=None,
        basic=True,
        query=lambda _: {"nonce": NONCE},
        bad_queries=({}, *({"nonce": bad} for bad in BAD_NONCES)),
    ),
    Endpoint(
        "GET",
        "/revocations/events",
        headers=lambda _: basic("edge"),
        kind=None,
        basic=True,
        query=_cursor,
        bad_queries=({}, *({"after": bad} for bad in BAD_CURSORS)),
    ),
    Endpoint(
        "POST",
        "/revocations/lookup",
        _question,
        lambda _: basic("edge"),
        fields={
            "nonce": Field(True, (*NOT_TEXT, *BAD_NONCES)),
            "salt": Field(True, (*NOT_TEXT, "0", "zz", "0" * 130)),
            "keys": Field(True, (*NOT_TEXT, *NOT_KEYS)),
            "sub_ver": Field(True, ("", "1", 1.5, True, -1, 1 << 53, [], {})),
            "iat": Field(True, ("", "1", 1.5, True, -1, 1 << 53, [], {})),
            "known": Field(False, NOT_A_POSITION),
        },
        basic=True,
    ),
    Endpoint(
        "POST",
        "/ssf/poll",
        lambda _: {"returnImmediately": True, "maxEvents": 1, "ack": ["x"], "setErrs": {}},
        lambda _: basic("watcher"),
        fields={
            "returnImmediately": Field(False, ("", 0, 1, "true", [], {})),
            "maxEvents": Field(False, ("", "1", 1.5, True, -1, [], {}, -(10**400))),
            "ack": Field(
                False, ("", "x", 1, True, {}, [1], [None], [""], ["x" * 65], ["\0"], ["x"] * 101)
            ),
            "setErrs": Field(
                False,
                (
                    "",
                    [],
                    1,
                    True,
                    {"x": 1},
                    {"x": {}},
                    {"x": {"err": 1}},
                    {"": {"err": "e"}},
                    {"x": {"err": ""}},
                    {"x": {"err": "e" * 65}},
                ),
            ),
        },
        basic=True,
    ),
    Endpoint("GET", "/.well-known/ssf-configuration", kind=None),
    Endpoint("GET", "/.well-known/jwks.json", kind=None),
    Endpoint("GET", "/.well-known/oauth-authorization-server", kind=None),
    Endpoint("GET", "/openapi.json", kind=None),
    Endpoint("GET", "/password/rules", kind=None),
    Endpoint("GET", "/healthz", kind=None),
    Endpoint("GET", "/readyz", kind=None),
)

Case = tuple[str, dict[str, Any]]
"""What is wrong, and the options of the request."""


def cases(endpoint: Endpoint, world: World) -> Iterator[Case]:
    """Every malformed request to one endpoint; each must be refused and change nothing."""
    yield from _methods(endpoint, world)
    yield from _framing(endpoint, world)
    if endpoint.kind == JSON:
        yield from _json_bodies(endpoint, world)
        yield from _json_fields(endpoint, world)
        yield from _content_types(endpoint, world)
    if endpoint.kind == FORM:
        yield from _forms(endpoint, world)
        yield from _content_types(endpoint, world)
    if endpoint.bearer:
        yield from _bearers(endpoint, world)
    if endpoint.basic:
        yield from _basics(endpoint, world)
    for bad in endpoint.bad_queries:
        yield f"query {bad}", _rightly(endpoint, world) | {"query_string": bad}
    if endpoint.path == "/refresh":
        yield from _cookies()
    if endpoint.path in {"/login", "/refresh"}:
        yield from _client_secrets(endpoint, world)
    if endpoint.path == "/logout":
        yield from ((f"no body, {why}", options) for why, options in _bearers(endpoint, world))
    if endpoint.path == "/revoke":
        yield from ((f"as a client, {why}", options) for why, options in _basics(endpoint, world))


def _rightly(endpoint: Endpoint, world: World) -> dict[str, Any]:
    """The options of the request that would succeed."""
    options: dict[str, Any] = {
        "method": endpoint.method,
        "headers": endpoint.headers(world),
        "query_string": endpoint.query(world),
    }
    if endpoint.kind == JSON:
        options |= {"data": json.dumps(endpoint.body(world)), "content_type": JSON}
    elif endpoint.kind == FORM:
        options |= {"data": _urlencoded(endpoint.body(world)), "content_type": FORM}
    return options


def _urlencoded(body: dict[str, Any]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in body.items()).encode()


def _methods(endpoint: Endpoint, world: World) -> Iterator[Case]:
    known = {"/sessions": {"GET", "DELETE"}}.get(endpoint.path, {endpoint.method})
    if "GET" in known:
        known = known | {"HEAD"}
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO"):
        if method not in known:
            yield f"method {method}", _rightly(endpoint, world) | {"method": method}


def _framing(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    for coding in ("chunked", "gzip, chunked", "identity", ""):
        headers = {**right["headers"], "Transfer-Encoding": coding}
        yield f"Transfer-Encoding {coding!r}", right | {"headers": headers}
    yield "no Host", right | {"environ_overrides": {"HTTP_HOST": ""}}
    if endpoint.kind is None:
        return
    length = len(right["data"])
    wrong_lengths = ["", "x", "-1", "0", str(length + 1), "9" * 30]
    if endpoint.kind == JSON:
        # Of a form it would leave a shorter token, which is no error.
        wrong_lengths.append(str(length - 1))
    for wrong in wrong_lengths:
        yield f"Content-Length {wrong!r}", right | {"environ_overrides": {"CONTENT_LENGTH": wrong}}


def _json_bodies(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    body = right["data"].encode()
    inner = body[1:-1]
    first = next(iter(endpoint.body(world)))
    value = json.dumps(endpoint.body(world)[first]).encode()
    wrong: dict[str, bytes] = {
        "an array": b"[]",
        "an array around it": b"[" + body + b"]",
        "null": b"null",
        "a text": b'"text"',
        "a text of JSON": json.dumps(body.decode()).encode(),
        "a number": b"1",
        "true": b"true",
        "an empty object": b"{}",
        "nothing": b"",
        "spaces": b"   ",
        "cut off": body[:-1],
        "a trailing comma": b"{" + inner + b",}",
        "a comma in front": b"{," + inner + b"}",
        "two documents": body + body,
        "something behind it": body + b"x",
        "a comment": b"/**/" + body,
        "single quotes": body.replace(b'"', b"'"),
        "names without quotes": b"{" + first.encode() + b":" + value + b"}",
        "a byte order mark": b"\xef\xbb\xbf" + body,
        "UTF-16": body.decode().encode("utf-16"),
        "UTF-32": body.decode().encode("utf-32"),
        "Latin-1": b'{"x":"\xe9",' + inner + b"}",
        "an overlong form": b'{"x":"\xc0\xaf",' + inner + b"}",
        "a surrogate in UTF-8": b'{"x":"\xed\xa0\x80",' + inner + b"}",
        "a byte that UTF-8 has not": b'{"x":"\xff",' + inner + b"}",
        "half a character": b'{"x":"\xf0\x9f\xa6",' + inner + b"}",
        "a NUL byte": b"{\0" + inner + b"}",
        "a NUL byte in a text": b'{"x":"\0",' + inner + b"}",
        "a raw line feed in a text": b'{"x":"\n",' + inner + b"}",
        "an unpaired high surrogate": b'{"x":"\\ud800",' + inner + b"}",
        "an unpaired low surrogate": b'{"x":"\\udfff",' + inner + b"}",
        "surrogates the wrong way round": b'{"x":"\\udfff\\ud800",' + inner + b"}",
        "a surrogate in a name": b'{"\\ud800":1,' + inner + b"}",
        "NaN": b'{"x":NaN,' + inner + b"}",
        "Infinity": b'{"x":Infinity,' + inner + b"}",
        "-Infinity": b'{"x":-Infinity,' + inner + b"}",
        "a number of 5000 digits": b'{"x":' + b"9" * 5000 + b"," + inner + b"}",
        "a leading zero": b'{"x":01,' + inner + b"}",
        "a hexadecimal number": b'{"x":0x1,' + inner + b"}",
        "a plus sign": b'{"x":+1,' + inner + b"}",
        "a broken escape": b'{"x":"\\u00g0",' + inner + b"}",
        "nested too deep": b'{"x":' + b"[" * 300 + b"]" * 300 + b"," + inner + b"}",
        "objects nested too deep": b'{"x":'
        + b'{"y":' * 300
        + b"1"
        + b"}" * 300
        + b","
        + inner
        + b"}",
        "nested and never closed": b"[" * 8000,
        "a member twice": b"{" + inner + b',"' + first.encode() + b'":' + value + b"}",
        "a member twice, escaped": b"{"
        + inner
        + b',"'
        + f"\\u{ord(first[0]):04x}{first[1:]}".encode()
        + b'":'
        + value
        + b"}",
        "an unknown member twice": b'{"x":1,"x":1,' + inner + b"}",
        "an inner member twice": b'{"x":{"y":1,"y":1},' + inner + b"}",
        "compressed": gzip.compress(body),
        "huge": body[:-1] + b" " * MAX_BODY + b"}",
        "a huge name": b'{"' + b"x" * MAX_BODY + b'":1,' + inner + b"}",
    }
    if endpoint.fields and not any(rule.required for rule in endpoint.fields.values()):
        del wrong["an empty object"]
    for why, data in wrong.items():
        yield why, right | {"data": data}


def _json_fields(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    body = endpoint.body(world)
    for name, rule in endpoint.fields.items():
        for bad in rule.bad:
            data = json.dumps({**body, name: bad})
            yield f"{name}={str(bad)[:20]!r}", right | {"data": data}
        if rule.required:
            data = json.dumps({key: value for key, value in body.items() if key != name})
            yield f"without {name}", right | {"data": data}
            yield f"{name}=null", right | {"data": json.dumps({**body, name: None})}
    if "active_ago" in endpoint.fields:
        for number in ("1e999", "-1e999", "1e10", "-1e-1", "-9" + "9" * 400):
            data = json.dumps(body)[:-1] + f',"active_ago":{number}}}'
            yield f"active_ago={number}", right | {"data": data}


def _content_types(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    types = [
        "",
        "text/plain",
        "text/json",
        f"{endpoint.kind}x",
        f"{endpoint.kind}, text/plain",
        f"text/plain, {endpoint.kind}",
        "multipart/form-data; boundary=x",
        "é",
        "/",
        "\0",
        FORM if endpoint.kind == JSON else JSON,
    ]
    for kind in types:
        yield f"content type {kind!r}", right | {"content_type": kind}


def _forms(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    body: bytes = right["data"]
    wrong = {
        "nothing": b"",
        "no value": b"token",
        "an empty value": b"token=",
        "no name": b"=" + body,
        "another name": b"tokens=" + body,
        "ampersands": b"&&&",
        "an empty pair": body + b"&",
        "the field twice": body + b"&" + body,
        "an unknown field twice": body + b"&x=1&x=1",
        "the field twice, escaped": body + b"&%74oken=x",
        "17 fields": body + b"".join(b"&x%d=1" % number for number in range(16)),
        "an escape that is none": body + b"&x=%zz",
        "an escape cut off": body + b"&x=%a",
        "an escape cut off at once": body + b"&x=%",
        "an escape that is none in a name": body + b"&%zz=1",
        "an escaped byte that UTF-8 has not": body + b"&x=%ff",
        "an escaped overlong form": body + b"&x=%c0%af",
        "an escaped surrogate": body + b"&x=%ed%a0%80",
        "a raw byte": body + b"&x=\xff",
        "raw UTF-8": body + "&x=é".encode(),
        "a long token": b"token=" + b"x" * 8193,
        "huge": body + b"&x=" + b"x" * MAX_BODY,
        "JSON": json.dumps(endpoint.body(world)).encode(),
        "compressed": gzip.compress(body),
        "UTF-16": body.decode().encode("utf-16"),
    }
    if endpoint.path == "/revoke":
        wrong |= {
            "a NUL in the client": body + b"&client_id=demo%00",
            "an empty client": body + b"&client_id=",
            "a client that is none": body + b"&client_id=nobody",
            "a long client": body + b"&client_id=" + b"x" * 256,
            "two clients": body + b"&client_id=demo&client_id=demo",
        }
    for why, data in wrong.items():
        yield why, right | {"data": data}


def _bearers(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    if endpoint.path == "/logout":
        right = {"method": "POST", "headers": {}}
    header, payload, signature = world.access.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    wrong = [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer \t ",
        "Bearer null",
        "Bearer \xe9",
        "Bearer " + "x" * 10_000,
        "Bearer ...",
        "Bearer a.b.c",
        "Bearer a.b.c.d.e",
        f"Bearer {world.access} x",
        f"Bearer {world.access}, Bearer {world.access}",
        f"Bearer {world.access}.",
        f"Bearer {world.access[:-1]}",
        f"Bearer {world.access[:-4]}AAAA",
        f"Bearer {header}.{payload}.",
        f"Bearer {none}.{payload}.",
        f"Bearer {none}.{payload}.{signature}",
        f"Bearer {world.refresh}",
        f"Bearer {world.expired}",
        f"Bearer\0{world.access}",
        f"Token {world.access}",
        f"Basic {world.access}",
        world.access,
    ]
    for value in wrong:
        headers = {**right["headers"], "Authorization": value}
        yield f"Authorization {value[:24]!r}", right | {"headers": headers}
    headers = {name: value for name, value in right["headers"].items() if name != "Authorization"}
    yield "no Authorization", right | {"headers": headers}


def _basic_headers(world: World) -> Iterator[str]:
    def encoded(pair: bytes) -> str:
        return f"Basic {base64.b64encode(pair).decode()}"

    yield from ("Basic", "Basic ", "Basic !!!", "Basic \xe9", "Basic YQ", "Basic ====")
    for pair in (
        b"",
        b":",
        b"rs",
        b"rs:",
        b":rs",
        b"rs:wrong",
        b"rs:" + SECRET.encode(),  # not form-encoded
        b"demo:",
        b"nobody:x",
        b"rs:%ff",
        b"%ff:x",
        b"rs:%ed%a0%80",
        b"rs:\xff",
        b"\0:\0",
        b"rs:" + b"x" * 9000,
    ):
        yield encoded(pair)


def _basics(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    others = ("", " ", "Digest x", "Digest username=rs", f"Bearer {world.access}", "Negotiate")
    for value in (*others, *_basic_headers(world)):
        headers = {**right["headers"], "Authorization": value}
        yield f"Authorization {value[:24]!r}", right | {"headers": headers}


def _client_secrets(endpoint: Endpoint, world: World) -> Iterator[Case]:
    right = _rightly(endpoint, world)
    for value in _basic_headers(world):
        headers = {**right["headers"], "Authorization": value}
        yield f"client secret {value[:24]!r}", right | {"headers": headers}


def _cookies() -> Iterator[Case]:
    for token in (
        "",
        "garbage",
        "a.b.c.d.e",
        '"',
        ";;;",
        "=",
        "\xe9",
        "\0",
        "x" * 9000,
        "a b",
        "\t",
    ):
        yield f"cookie {token[:12]!r}", {"method": "POST", "headers": browser(token)}
    yield "two cookies", {"method": "POST", "headers": browser("x; __Host-gatepass_refresh=y")}
    headers = {**browser(), "Cookie": "\xff\xfe;=;;==;\0"}
    yield "a header of cookies that is none", {"method": "POST", "headers": headers}
