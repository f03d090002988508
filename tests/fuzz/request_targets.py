"""What anybody may send: headers, and bodies read as fields."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote_to_bytes

import fuzz_oracles as oracle
from flask import Flask
from fuzz_target import Finding, Target, agree

from gateway import bearer, service_log
from gateway.errors import RequestRefused, TokenRequired
from issuer.errors import OAuthError
from issuer.http import body as bodies
from issuer.http import client_auth, current
from issuer.http.cookies import TRANSPORTS

APP = Flask("fuzzed")


def traceparent(data: bytes) -> bool:
    """Only what W3C Trace Context allows gets into a log."""
    taken = service_log.traceparent_of(data)
    agree(taken is not None, oracle.traceparent_is_good(data), "a traceparent")
    return taken is not None


def authorization(data: bytes) -> bool:
    """Gateway and issuer take the same token out of a header, and never two."""
    text = data.decode("latin-1").replace("\r", "").replace("\n", "")
    try:
        token = bearer.bearer_token(text)
    except (TokenRequired, RequestRefused):
        token = None
    with APP.test_request_context(headers={"Authorization": text}):
        try:
            theirs = current.bearer_token()
        except OAuthError as error:
            agree(error.status, 401, "a refusal's status")
            theirs = None
        try:
            client_auth.credentials()
        except OAuthError as error:
            agree(error.status, 401, "a refusal's status")
    if token is not None:
        agree("," in token, False, "one credential")
        if token.isascii() and token.isprintable():
            agree(theirs, token, "a token")
    return token is not None


def json_fields(data: bytes) -> bool:
    """A body's fields are taken with their types and limits, or refused with 400."""

    def read() -> None:
        fields = bodies.read_json(optional=True)
        value = fields.line("username", longest=320)
        if not 0 < len(value) <= 320 or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
            raise Finding("a name of another form")
        fields.text("password", longest=256)
        if fields.choice("transport", TRANSPORTS) not in {None, *TRANSPORTS}:
            raise Finding("another choice")
        seconds = fields.optional_seconds("active_ago")
        if not 0 <= (seconds or 0.0) <= bodies.LONGEST_SECONDS:
            raise Finding("seconds out of range")
        if oracle.strict_object(data) is None:
            raise Finding("a body that is no object")

    return _taken(read, data, "application/json")


def form_fields(data: bytes) -> bool:
    """A form's fields are those that a plain reading gives, each of them once."""

    def read() -> None:
        fields = bodies.read_form()
        token, hint = fields.text("token"), fields.optional_text("token_type_hint")
        plain: dict[bytes, bytes] = {}
        for pair in data.replace(b"+", b" ").split(b"&"):
            name, _, value = pair.partition(b"=")
            name = unquote_to_bytes(name)
            agree(name in plain, False, "a field twice")
            plain[name] = unquote_to_bytes(value)
        agree(token.encode(), plain.get(b"token"), "a token")
        agree(hint and hint.encode(), plain.get(b"token_type_hint"), "a hint")

    return _taken(read, data, "application/x-www-form-urlencoded")


def _taken(read: Any, data: bytes, content_type: str) -> bool:
    with APP.test_request_context(method="POST", data=data, content_type=content_type):
        try:
            read()
        except OAuthError as error:
            agree(error.status, 400, "a refusal's status")
            return False
    return True


_BODY = b'{"username":"ann","password":"p\\u00e9","transport":"body","active_ago":1.5}'
_ANY_CASE = re.compile(service_log._TRACEPARENT.pattern, re.IGNORECASE)


def _all_behind(header: str) -> str:
    """A reader to which whatever follows the scheme is one token."""
    token = header.partition(" ")[2].strip(" ")
    if not token:
        raise TokenRequired("none")
    return token


TARGETS = [
    Target(
        "traceparent",
        traceparent,
        lambda: [b"00-%s-%s-01" % (b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331")],
        lambda: patch.object(service_log, "_TRACEPARENT", _ANY_CASE),
        longest=128,
    ),
    Target(
        "authorization",
        authorization,
        lambda: [b"Bearer a.b.c", b"bearer  x", b"Basic cnM6eA==", b"Bearer a; Bearer b"],
        lambda: patch.object(bearer, "bearer_token", _all_behind),
        longest=512,
    ),
    Target(
        "json-fields",
        json_fields,
        lambda: [_BODY],
        lambda: patch.object(
            bodies.Fields, "choice", lambda self, name, choices: str(self._values.get(name))
        ),
        longest=1024,
    ),
    Target(
        "form-fields",
        form_fields,
        lambda: [b"token=a%2Eb+c&token_type_hint=x", b"token=x&client_id=demo"],
        lambda: patch.object(bodies, "parse_qsl", lambda text, **_: parse_qsl(text)),
        longest=1024,
    ),
]
