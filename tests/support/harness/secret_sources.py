"""Where secrets come into being or pass by in a test process: from here on each is remembered.

Everything is watched at the narrow places that all of them go through, so that no test has to
think of it: settings, hashing, signing, sealing, key rings, and HTTP in both directions.
"""

from __future__ import annotations

import functools
import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import argon2
import jwt
import pydantic
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.secrets_made import Secrets
from joserfc import jwe
from werkzeug.test import Client

from keys import KeyRing, envelope

MEMBERS = {
    "access_token": "access token",
    "refresh_token": "refresh token",
    "token": "token",
    "password": "password",
    "current_password": "password",
    "new_password": "password",
    "admin_password": "password",
    "client_secret": "client secret",
    "secret": "authenticator app's secret",
    "recovery_code": "recovery code",
    "denylist_url": "credential in a URL",
}
"""Members of JSON objects and forms that hold a secret, and what it is called."""
_COOKIE = re.compile(r"(?:^|[;,]\s*)__Host-[\w-]+=([^;,\s]+)")
_LARGEST = 1 << 16
_SHORTEST_TOKEN = 32
"""Characters: what is shorter is an identifier that a test has sent in place of a token."""

made = Secrets()
"""Of this process."""


def watch() -> None:
    """Begin; once for each process."""
    _after(pydantic.SecretStr, "__init__", lambda _self, value: made.add("setting", value))
    _after(argon2.PasswordHasher, "hash", lambda _self, password, **_: _password(password))
    _after(argon2.PasswordHasher, "verify", lambda _self, _hash, password: _password(password))
    _result(jwt, "encode", _signed)
    _result(jwe, "encrypt_compact", lambda token: made.add("sealed token", token))
    _result(envelope, "decode_ring", remember_ring)
    _after(envelope, "encode_ring", remember_ring)
    _after(http.client.HTTPConnection, "putheader", _sent_header)
    _after(http.client.HTTPConnection, "send", lambda _self, data: _body(data))
    _result(http.client.HTTPResponse, "read", _body)
    _result(http.client.HTTPResponse, "getheader", _cookies)
    _result(Client, "open", _flask_answer)


def remember_ring(ring: KeyRing) -> None:
    """Every private half of a ring."""
    for key in ring.keys:
        private = key.private
        if isinstance(private, bytes):
            made.add("sealing key", private)
        elif isinstance(private, ed25519.Ed25519PrivateKey) and hasattr(private, "private_bytes"):
            raw = private.private_bytes
            _try(
                lambda raw=raw: made.add(
                    "signing key", raw(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
                )
            )
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            _try(
                lambda p=private: made.add(
                    "signing key", _octets(p.private_numbers().private_value)
                )
            )
        elif isinstance(private, rsa.RSAPrivateKey):
            _try(
                lambda p=private: [
                    made.add("signing key", _octets(n))
                    for n in (p.private_numbers().d, p.private_numbers().p, p.private_numbers().q)
                ]
            )


def remember(document: object) -> None:
    """Every secret member of a JSON document."""
    for name, value in _members(document):
        if name in MEMBERS and isinstance(value, str):
            if name.endswith("_url"):
                made.add(MEMBERS[name], urlsplit(value).password or "")
            elif "token" not in name or len(value) >= _SHORTEST_TOKEN:
                made.add(MEMBERS[name], value)


def _members(document: object) -> Iterator[tuple[str, object]]:
    if isinstance(document, Mapping):
        for name, value in document.items():
            yield str(name), value
            yield from _members(value)
    elif isinstance(document, list):
        for value in document:
            yield from _members(value)


def _password(password: str | bytes) -> None:
    made.add(
        "password", password if isinstance(password, str) else password.decode(errors="replace")
    )


def _signed(token: str) -> None:
    if jwt.get_unverified_header(token).get("typ") == "at+jwt":
        made.add("access token", token)


def _sent_header(_connection: object, name: str, *values: object) -> None:
    _header(name, *(str(value) for value in values))


def _header(name: str, *values: str) -> None:
    if name.lower() == "authorization":
        for value in values:
            credential = value.partition(" ")[2]
            if len(credential) >= _SHORTEST_TOKEN:
                made.add("credential", credential)
    elif name.lower() in {"cookie", "set-cookie"}:
        for value in values:
            _cookies(value)


def _cookies(text: object) -> None:
    if isinstance(text, str):
        for value in _COOKIE.findall(text):
            made.add("cookie", value)


def _body(data: object) -> None:
    if not isinstance(data, bytes) or not 2 < len(data) < _LARGEST:
        return
    if data.startswith((b"{", b"[")):
        try:
            remember(json.loads(data))
        except (ValueError, RecursionError):
            return
    elif b"=" in data and b"\n" not in data:
        remember(dict(parse_qsl(data.decode(errors="replace"))))


def _flask_answer(answer: Any) -> None:
    for name, value in answer.request.headers:
        _header(name, value)
    for name, value in answer.headers:
        _header(name, value)
    if answer.is_streamed:
        return  # a feed that does not end
    _body(answer.get_data())


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _try(remembering: Callable[[], object]) -> None:
    try:
        remembering()
    except ValueError:
        return  # it lies in a token and cannot be read


def _after(owner: Any, name: str, look: Callable[..., object]) -> None:
    """Let `look` see the arguments of each call, after it."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def watched(*arguments: Any, **named: Any) -> Any:
        try:
            return original(*arguments, **named)
        finally:
            _quietly(look, *arguments, **named)

    setattr(owner, name, watched)


def _result(owner: Any, name: str, look: Callable[[Any], object]) -> None:
    """Let `look` see what each call returns."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def watched(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        _quietly(look, result)
        return result

    setattr(owner, name, watched)


def _quietly(look: Callable[..., object], *arguments: Any, **named: Any) -> None:
    try:
        look(*arguments, **named)
    except (TypeError, ValueError, AttributeError, KeyError, jwt.PyJWTError):
        return  # a test that passes nonsense must see the failure that it provokes
