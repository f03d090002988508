"""An administrator with a second factor: asked for it at the sign-in, and at each change again."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.console_client import ConsoleClient, is_signed_out
from harness.factors import authenticator, enrol_app, enrol_passkey
from harness.issuer_app import PASSWORD, IssuerApp
from werkzeug.test import TestResponse

from issuer.audit import EventKind, Outcome
from issuer.audit.search import Wanted, search

pytestmark = stacks.anywhere
ASKED = "this account has a second factor"
REFUSED = "the code or passkey was refused"
TOO_LITTLE = "The console asks for a second factor beside a password"


def options_of(answer: TestResponse) -> dict[str, Any]:
    """What the page hands to the browser for a passkey."""
    found = re.search(r"data-options='([^']*)'", answer.text)
    assert found is not None
    options: dict[str, Any] = json.loads(html.unescape(found[1]))
    return options


def test_a_code_is_asked_for_and_good_once(browser: ConsoleClient) -> None:
    """The password alone opens nothing; a wrong code, or one that was used, neither."""
    app = enrol_app(browser.issuer)
    alone = browser.sign_in()
    assert (alone.status_code, ASKED in alone.text.lower()) == (403, True)
    assert "Use a passkey" not in alone.text
    wrong = browser.sign_in(code="000000")
    assert (wrong.status_code, REFUSED in wrong.text.lower()) == (400, True)
    assert is_signed_out(browser.get())
    code = app.next_code()
    assert browser.sign_in(code=f" {code[:3]} {code[3:]} ").status_code == 303
    assert browser.get().status_code == 200
    assert ConsoleClient(browser.issuer).sign_in(code=code).status_code == 400
    browser.issuer.services.audit.flush()
    told = search(
        browser.issuer.services.engine,
        Wanted(kinds=(EventKind.LOGIN,), outcome=Outcome.FAILURE, client_id="gatepass-console"),
    )
    assert {each.event.why for each in told} == {"factor_required", "factor_refused"}


def test_a_change_asks_for_the_factor_again(browser: ConsoleClient) -> None:
    """However the session began; and goes on with a code of its own."""
    app = enrol_app(browser.issuer)
    assert browser.sign_in(code=app.next_code()).status_code == 303
    browser.issuer.clock.advance(301)
    path = "/people/x/end-all"
    asked = browser.send(path, password=PASSWORD)
    assert (asked.status_code, ASKED in asked.text.lower()) == (403, True)
    refused = browser.send(path, password=PASSWORD, code="000000")
    assert (refused.status_code, REFUSED in refused.text.lower()) == (403, True)
    assert browser.send(path, password=PASSWORD, code=app.next_code()).status_code == 404
    assert browser.send(path).status_code == 404


def test_a_passkey_is_as_good(browser: ConsoleClient) -> None:
    """The page hands its challenge to the browser, and takes the answer once."""
    device = authenticator()
    enrol_passkey(browser.issuer, device)
    alone = browser.sign_in()
    assert "Use a passkey" in alone.text
    answer = json.dumps(device.get(options_of(alone)))
    assert browser.sign_in(passkey=answer).status_code == 303
    assert ConsoleClient(browser.issuer).sign_in(passkey=answer).status_code == 400
    browser.issuer.clock.advance(301)
    asked = browser.send("/people/x/end-all", password=PASSWORD)
    again = json.dumps(device.get(options_of(asked)))
    assert browser.send("/people/x/end-all", password=PASSWORD, passkey=again).status_code == 404


def test_what_no_page_sends_is_refused(browser: ConsoleClient) -> None:
    """Passkeys that are no JSON, codes without end: 400, and no error of the server's."""
    enrol_app(browser.issuer)
    for fields in ({"passkey": "{"}, {"passkey": "[]"}, {"passkey": "{}"}, {"code": "x" * 65}):
        assert browser.sign_in(**fields).status_code == 400, fields


def test_wrong_codes_count_as_wrong_passwords(browser: ConsoleClient) -> None:
    """SP 800-63B-4 section 3.2.2: nobody tries a million of them."""
    enrol_app(browser.issuer)
    answers = [browser.sign_in(code="000000").status_code for _ in range(6)]
    assert answers == [400] * 5 + [429]


def test_a_password_alone_may_be_too_little(make_issuer: Callable[..., IssuerApp]) -> None:
    """With `console.acr` at two factors (ASVS 6.3.3): said in words, and nothing is begun."""
    issuer = make_issuer(console={"enabled": True, "acr": "aal2"})
    browser = ConsoleClient(issuer)
    alone = browser.sign_in()
    assert (alone.status_code, TOO_LITTLE in alone.text) == (403, True)
    assert is_signed_out(browser.get())
    app = enrol_app(issuer)
    assert browser.sign_in(code=app.next_code()).status_code == 303
    assert browser.get().status_code == 200
    issuer.services.audit.flush()
    wanted = Wanted(sub=issuer.account.id, client_id="gatepass-console")
    told = [each.event for each in search(issuer.services.engine, wanted)]
    assert {each.why for each in told if each.outcome is Outcome.FAILURE} == {"too_weak"}


def test_a_change_asks_for_as_much_as_the_sign_in(make_issuer: Callable[..., IssuerApp]) -> None:
    """A key opens it, and a code of an app, though it is a second factor, changes nothing."""
    issuer = make_issuer(console={"enabled": True, "acr": "aal3"})
    browser, device = ConsoleClient(issuer), authenticator()
    app = enrol_app(issuer)
    enrol_passkey(issuer, device, app.grant, otp=app.next_code())
    code = browser.sign_in(code=app.next_code())
    assert (code.status_code, "a security key whose key cannot leave it" in code.text) == (
        403,
        True,
    )
    answer = json.dumps(device.get(options_of(browser.sign_in())))
    assert browser.sign_in(passkey=answer).status_code == 303
    issuer.clock.advance(301)
    path = "/people/x/end-all"
    refused = browser.send(path, password=PASSWORD, code=app.next_code())
    assert (refused.status_code, "cannot leave it" in refused.text) == (403, True)
    asked = browser.send(path, password=PASSWORD)
    again = json.dumps(device.get(options_of(asked)))
    assert browser.send(path, password=PASSWORD, passkey=again).status_code == 404
    issuer.services.audit.flush()
    wanted = Wanted(kinds=(EventKind.PASSWORD_REFUSED,), client_id="gatepass-console")
    (told,) = search(issuer.services.engine, wanted)
    assert (told.event.why, told.event.sid is not None) == ("too_weak", True)


def test_a_session_that_began_with_less_ends(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the settings ask for more, at the next page; what a page fetches by itself first."""
    issuer = make_issuer(console={"enabled": True})
    browser = ConsoleClient(issuer).signed_in()
    assert browser.get("/gateways/live").status_code == 200
    sessions = issuer.app.extensions["gatepass-console"]
    more = issuer.services.settings.console.model_copy(update={"acr": "aal2"})
    monkeypatch.setattr(sessions, "_settings", more)
    assert browser.get("/gateways/live").status_code == 403
    assert is_signed_out(browser.get())
    monkeypatch.undo()
    assert is_signed_out(browser.get())
    issuer.services.audit.flush()
    (ended,) = search(issuer.services.engine, Wanted(kinds=(EventKind.SESSION_ENDED,)))
    assert ended.event.why == "operator"
