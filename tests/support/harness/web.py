"""Plain HTTP requests to servers on loopback, whose answers are values and never exceptions."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    content: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON; ValueError if it is none."""
        return json.loads(self.content)

    def granted(self) -> dict[str, Any]:
        """The JSON object of an answer that must be 200."""
        assert self.status == 200, (self.status, self.content)
        body = self.json
        assert isinstance(body, dict)
        return body

    def refused(self, status: int, error: str) -> dict[str, Any]:
        """The JSON object of an answer that must be this refusal in OAuth form."""
        assert self.status == status, (self.status, self.content)
        body = self.json
        assert body["error"] == error, body
        assert set(body) == {"error", "error_description"}
        return dict(body)


def connect(url: str, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    """A connection to the server of a URL, whatever any proxy setting says."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=TIMEOUT, context=context
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)


def ask(
    method: str,
    url: str,
    *,
    json_body: Any = None,
    form: Mapping[str, str] | None = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own, with a JSON body, a form, or none."""
    sent = dict(headers or {})
    body: bytes | None = None
    if json_body is not None:
        body = json.dumps(json_body).encode()
        sent.setdefault("Content-Type", "application/json")
    elif form is not None:
        body = urlencode(form).encode()
        sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with contextlib.closing(connect(url, context)) as connection:
        connection.request(method, target, body=body, headers=sent)
        return read(connection)


def read(connection: http.client.HTTPConnection) -> Answer:
    """The answer that a connection waits for."""
    response = connection.getresponse()
    named = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, named, response.read())


@dataclass(frozen=True, slots=True)
class Site:
    """An issuer and the example API beside it, as a client without cookies sees them."""

    base_url: str
    api_url: str
    context: ssl.SSLContext | None = None

    def post(self, path: str, json_body: Any = None, **options: Any) -> Answer:
        return ask(
            "POST", self.base_url + path, json_body=json_body, context=self.context, **options
        )

    def get(self, path: str, **options: Any) -> Answer:
        return ask("GET", self.base_url + path, context=self.context, **options)

    def login(self, username: str, password: str, **fields: Any) -> Answer:
        """Log in, in body mode."""
        body = {"username": username, "password": password, "transport": "body", **fields}
        return self.post("/login", body)

    def refresh(self, token: str) -> Answer:
        """Refresh in body mode."""
        return self.post("/refresh", {"refresh_token": token})

    def api(self, token: str | None) -> Answer:
        """Call the example API, which verifies by itself."""
        return ask("GET", self.api_url, token=token, context=self.context)
