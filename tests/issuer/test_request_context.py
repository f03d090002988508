"""The id of a request: whose word it is, that it is answered, and that log and events carry it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr

import click
import structlog
from click.testing import CliRunner
from harness import stacks
from harness.issuer_app import USERNAME, IssuerApp

from issuer.audit import Origin, current_origin
from issuer.cli.output import Cli, command_options
from issuer.http.request_context import HEADER
from issuer.logs import configure_logs

OWN = re.compile(r"[A-Za-z0-9_-]{22}\Z")
GIVEN = "edge-7f3a/19.c=x"


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged within, as the issuer logs it in production."""
    before = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    text = io.StringIO()
    try:
        with redirect_stderr(text):
            configure_logs("INFO", as_json=True)
            yield text
    finally:
        structlog.configure(**before[0])
        logging.getLogger().handlers[:] = before[1]
        logging.getLogger().setLevel(before[2])


@stacks.anywhere
def test_every_answer_has_an_id_of_its_own(issuer: IssuerApp) -> None:
    """Refusals, unknown paths and health too."""
    paths = ("/healthz", "/sessions", "/nowhere", "/healthz")
    ids = [issuer.ask("GET", path).headers[HEADER] for path in paths]
    assert len(set(ids)) == len(paths)
    assert all(OWN.match(each) for each in ids)


@stacks.anywhere
def test_a_clients_own_id_is_not_taken(issuer: IssuerApp) -> None:
    """Without a trusted proxy in front, the header is anybody's."""
    assert OWN.match(issuer.ask("GET", "/healthz", headers={HEADER: GIVEN}).headers[HEADER])


@stacks.anywhere
def test_a_trusted_proxys_id_is_kept_if_it_is_well_formed(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Visible ASCII, 64 characters at the most, and one of them."""
    issuer = make_issuer(trusted_proxies=1)
    for given in (GIVEN, "x" * 64, "!~"):
        assert issuer.ask("GET", "/healthz", headers={HEADER: given}).headers[HEADER] == given
    for given in ("", "x" * 65, "a b", "a\tb", "é", "\x7f", "one,two"):
        assert OWN.match(issuer.ask("GET", "/healthz", headers={HEADER: given}).headers[HEADER])


@stacks.anywhere
def test_log_lines_of_a_request_carry_its_id(issuer: IssuerApp) -> None:
    """Our own events and a library's warnings, and nothing of it stays for the next request."""
    with logged() as text:

        @issuer.app.after_request
        def warn(response: object) -> object:
            logging.getLogger("some.package").warning("odd")
            return response

        answers = [issuer.login(password="wrong wooden comets 5518") for _ in range(2)]
        structlog.get_logger().warning("outside")
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    told = [(line["event"], line.get("request_id")) for line in lines]
    first, second = (answer.headers[HEADER] for answer in answers)
    assert told == [
        ("login_refused", first),
        ("odd", first),
        ("login_refused", second),
        ("odd", second),
        ("outside", None),
    ]


@stacks.anywhere
def test_events_come_from_where_the_request_came_from(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Address, user agent and id are those of the request, then nobody's."""
    issuer = make_issuer(trusted_proxies=1)
    seen: list[Origin] = []
    issuer.app.before_request(lambda: seen.append(current_origin()))
    headers = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "a\x80gent", HEADER: GIVEN}
    issuer.ask("GET", "/healthz", headers=headers)
    assert seen == [Origin("203.0.113.9", "agent", GIVEN, "")]
    assert current_origin() == Origin(actor="issuer")


@stacks.anywhere
def test_an_address_that_is_only_a_proxys_is_none(make_issuer: Callable[..., IssuerApp]) -> None:
    """Behind a proxy whose header is not trusted nobody knows where a request comes from."""
    issuer = make_issuer(behind_tls_proxy=True)
    seen: list[Origin] = []
    issuer.app.before_request(lambda: seen.append(current_origin()))
    issuer.ask("GET", "/healthz")
    assert seen[0].address == ""


@stacks.anywhere
def test_what_a_request_leaves_to_a_thread_is_still_its_own(issuer: IssuerApp) -> None:
    """A reset is sent in the background; its log line and events name the request."""
    seen: list[Origin] = []
    deliver = issuer.services.resets.deliver

    def watched(username: str) -> None:
        seen.append(current_origin())
        deliver(username)

    issuer.services.resets.deliver = watched  # type: ignore[method-assign]
    with logged() as text:
        answer = issuer.post("/password/forgot", {"username": USERNAME})
        issuer.services.resets.start()
        issuer.services.resets.stop()
    (line,) = [json.loads(line) for line in text.getvalue().splitlines()]
    assert seen[0].request_id == answer.headers[HEADER] == line["request_id"]
    assert line["event"] == "password_reset_sent"


def test_a_command_comes_from_its_unix_user() -> None:
    """What an operator does from a shell is recorded under the name the system knows."""

    @click.command()
    @command_options
    def show(cli: Cli) -> None:
        cli.emit({}, current_origin().actor)

    done = CliRunner().invoke(show, env={"LOGNAME": "mallory", "USER": "mallory"})
    assert done.output == f"cli:{_user()}\n"
    assert current_origin() == Origin(actor="issuer")


def _user() -> str:
    import os
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
