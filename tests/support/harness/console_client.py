"""A browser without scripts in front of the console: cookies, forms, and what it says of itself."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from harness.issuer_app import ISSUER, PASSWORD, USERNAME, IssuerApp
from werkzeug.test import Client, TestResponse

from issuer.console.guard import COOKIE

OWN = {"Origin": ISSUER, "Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form on a page of ours."""
_FORM = re.compile(r'<form class="leave".*?name="form" value="([^"]+)"', re.DOTALL)


@dataclass
class ConsoleClient:
    """One browser; `issuer` has the console turned on."""

    issuer: IssuerApp
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.issuer.app.test_client()

    def get(self, path: str = "/", **options: Any) -> TestResponse:
        """A page under `/console`."""
        return self.client.get("/console" + path, buffered=True, **options)

    def page(self, path: str = "/") -> str:
        """The text of a page that must be there, as a person reads it."""
        response = self.get(path)
        assert response.status_code == 200, (response.status_code, response.text)
        return html.unescape(response.text)

    def post(self, path: str, headers: Any = OWN, **fields: str) -> TestResponse:
        """Send a form as it is."""
        return self.client.post("/console" + path, data=fields, headers=dict(headers))

    def send(self, path: str, headers: Any = OWN, **fields: str) -> TestResponse:
        """Send a form with the session's token in it."""
        return self.post(path, headers, **{"form": self.form_token(), **fields})

    def form_token(self) -> str:
        """Of the form on the page of keys."""
        found = _FORM.search(self.get("/keys").text)
        assert found is not None
        return found[1]

    def sign_in(
        self, username: str = USERNAME, password: str = PASSWORD, **fields: str
    ) -> TestResponse:
        """Fill in the form."""
        return self.post("/sign-in", username=username, password=password, **fields)

    def signed_in(self) -> ConsoleClient:
        """This browser, its person signed in."""
        assert self.sign_in().status_code == 303
        return self

    @property
    def cookie(self) -> str | None:
        """What it holds, if it holds it."""
        held = self.client.get_cookie(COOKIE)
        return None if held is None else held.value

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.client.set_cookie(COOKIE, value, secure=True, httponly=True, samesite="Strict")


def is_signed_out(response: TestResponse) -> bool:
    """Whether the answer sends to the form for signing in."""
    return response.status_code == 303 and "/console/sign-in" in response.headers["Location"]
