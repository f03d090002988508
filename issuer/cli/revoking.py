"""`gatepass revoke`: takes back at once what has been issued."""

from __future__ import annotations

import click

import keys as key_ring
from revocation import Entry, Kind
from tokens import TokenError
from tokens.sealing import MAX_SEALED

from ..journal import Reason
from ..sessions.end import end_client
from ..sessions.inspect import revoke_token
from .administration import account_of
from .output import Cli, IdCommand, NotFound, Refused, command_options, read_line, session_id


@click.group()
def revoke() -> None:
    """Revoke a token, a session, a person's tokens, a key or a client.

    When the command returns, the revocation is journalled and in the denylist; gateways refuse
    within milliseconds, and at the latest when their replica would be too old.
    """


@revoke.command("token")
@click.argument("token", required=False)
@command_options
def revoke_one_token(cli: Cli, token: str | None) -> None:
    """Revoke one access token, or the session of a refresh token.

    Reads the token from standard input unless it is given; a command line is seen by others.
    """
    text = (token or read_line(MAX_SEALED * 2)).strip()
    services = cli.services()
    try:
        client_id = services.revocable.verify(text).client_id
    except TokenError:
        try:
            client_id = services.sealer.open(text, services.clock()).client_id
        except TokenError as error:
            raise Refused(f"not a token that could still be used: {error.code}") from None
    revoke_token(services, token=text, client_id=client_id)
    cli.emit({"revoked": "token"}, "revoked the token")


@revoke.command("session", cls=IdCommand)
@click.argument("sid", callback=session_id)
@click.option("--user", "username", help="Whose it is, so that its record is ended too.")
@command_options
def revoke_session(cli: Cli, sid: str, username: str | None) -> None:
    """End a session: its refreshes and every access token of it."""
    services = cli.services()
    sub = None if username is None else account_of(services, username).id
    services.revoker.end_session(sub, sid, reason=Reason.OPERATOR)
    cli.emit({"revoked": "session", "sid": sid}, f"ended session {sid}")


@revoke.command("subject")
@click.argument("username")
@command_options
def revoke_subject(cli: Cli, username: str) -> None:
    """Refuse every token that a person has now, and end their sessions."""
    services = cli.services()
    account = account_of(services, username)
    change = services.accounts.raise_versions(
        account.id, expires=services.revoker.entry_expiry(), reason=str(Reason.OPERATOR)
    )
    services.revoker.complete_id(change.journal_id)
    cli.emit(
        {"revoked": "subject", "username": account.username, "sub_ver": change.account.sub_ver},
        f"revoked every token of {account.username}",
    )


@revoke.command("key", cls=IdCommand)
@click.argument("kid")
@command_options
def revoke_key(cli: Cli, kid: str) -> None:
    """Refuse every token under a key, for good, and take it out of the ring."""
    revoke_key_everywhere(cli, kid)


def revoke_key_everywhere(cli: Cli, kid: str) -> None:
    """Denylist the key and take it out of the ring; somebody else may have begun to."""
    services = cli.services()
    try:
        services.key_store.load().get(kid)
    except key_ring.UnknownKey:
        if not services.journal.find(Kind.KEY, kid):
            raise NotFound(f"there is no key {kid!r} in the ring") from None
    services.revoker.revoke(Entry.key(kid), reason=Reason.KEY)
    cli.emit(
        {"revoked": "key", "kid": kid, "keys": len(services.key_store.load().keys)},
        f"revoked key {kid}; its successor signs as soon as each issuer has read the ring",
    )


@revoke.command("client")
@click.argument("client_id")
@command_options
def revoke_client(cli: Cli, client_id: str) -> None:
    """Disable a client, and refuse every token issued to it (or for an audience) until now."""
    services = cli.services()
    known = set(services.settings.clients) | {
        client.audience for client in services.settings.clients.values()
    }
    if client_id not in known:
        raise NotFound(f"there is no client or audience {client_id!r}")
    end_client(services, client_id)
    cli.emit({"revoked": "client", "client_id": client_id}, f"disabled {client_id}")
