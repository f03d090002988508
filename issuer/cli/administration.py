"""`users`, `sessions`, `clients`, `denylist` and `journal`: what an operator looks at and does."""

from __future__ import annotations

import secrets
import sys
import unicodedata
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime

import click

from ..accounts import Account, UsernameTaken
from ..accounts.passwords import MAX_PASSWORD
from ..factors import changes
from ..http.auth import LONGEST_NAME
from ..journal import Reason
from ..services import Services
from ..sessions import list_sessions
from .output import Cli, IdCommand, NotFound, Refused, command_options, read_line, session_id

LONGEST_ROLE = 64


def moment(seconds: float) -> str:
    """A time for a person: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def account_of(services: Services, username: str) -> Account:
    account = services.accounts.by_username(username)
    if account is None:
        raise NotFound(f"there is no account {username!r}")
    return account


def _described(account: Account) -> dict[str, object]:
    return {
        "username": account.username,
        "sub": account.id,
        "enabled": account.enabled,
        "roles": list(account.roles),
        "credential_version": account.credential_version,
        "sub_ver": account.sub_ver,
    }


def _new_password(*, from_stdin: bool, generate: bool) -> tuple[str, bool]:
    """A password from standard input, made up, or asked for; and whether to show it."""
    if generate:
        return secrets.token_urlsafe(18), True
    if from_stdin:
        # Read further than is allowed, so that a longer one is refused rather than cut.
        return read_line(MAX_PASSWORD * 8), False
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask at: give --password-stdin or --generate")
    return click.prompt("Password", hide_input=True, confirmation_prompt=True), False


_PASSWORD_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of input."
)
_GENERATE = click.option("--generate", is_flag=True, help="Make up a password and print it.")


@click.group()
def users() -> None:
    """Accounts: add, list, disable, enable, set password or roles, see sessions and factors."""


def _name(_context: click.Context, _option: click.Parameter, given: str) -> str:
    """Refuse a name that nobody could log in with."""
    if not given.strip() or len(given) > LONGEST_NAME or _has_controls(given):
        raise click.BadParameter(
            f"a name has 1 to {LONGEST_NAME} characters, none of them a control character"
        )
    return given


def _roles(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a role that no verifier would take from a token."""
    for role in given:
        if not role or len(role) > LONGEST_ROLE or _has_controls(role):
            raise click.BadParameter(f"a role has 1 to {LONGEST_ROLE} characters")
    return given


def _has_controls(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


@users.command("add")
@click.argument("username", callback=_name)
@click.option(
    "--role",
    "roles",
    multiple=True,
    callback=_roles,
    help="A role; may be given more than once.",
)
@_PASSWORD_STDIN
@_GENERATE
@command_options
def users_add(
    cli: Cli,
    username: str,
    roles: tuple[str, ...],
    password_stdin: bool,  # noqa: FBT001
    generate: bool,  # noqa: FBT001
) -> None:
    """Make an account."""
    password, show = _new_password(from_stdin=password_stdin, generate=generate)
    try:
        account = cli.services().accounts.add(username, password, roles)
    except UsernameTaken:
        raise Refused(f"there is already an account {username!r}") from None
    result = _described(account)
    text = f"added {account.username} ({account.id})"
    if show:
        result["password"] = password
        text += f", password {password}"
    cli.emit(result, text)


@users.command("list")
@command_options
def users_list(cli: Cli) -> None:
    """List the accounts."""
    rows = [_described(account) for account in cli.services().accounts.everyone()]
    cli.table("users", rows, "no accounts")


@users.command("disable")
@click.argument("username")
@command_options
def users_disable(cli: Cli, username: str) -> None:
    """Disable an account and end every session of it (ASVS 7.4.2)."""
    services = cli.services()
    account = account_of(services, username)
    change = services.accounts.set_enabled(
        account.id, False, expires=services.revoker.entry_expiry()
    )
    if change is not None:
        services.revoker.complete_id(change.journal_id)
    cli.emit({"username": account.username, "enabled": False}, f"disabled {account.username}")


@users.command("enable")
@click.argument("username")
@command_options
def users_enable(cli: Cli, username: str) -> None:
    """Let a disabled account log in again; its old sessions stay ended."""
    services = cli.services()
    account = account_of(services, username)
    services.accounts.set_enabled(account.id, True, expires=0)
    cli.emit({"username": account.username, "enabled": True}, f"enabled {account.username}")


@users.command("passwd")
@click.argument("username")
@_PASSWORD_STDIN
@_GENERATE
@command_options
def users_passwd(cli: Cli, username: str, password_stdin: bool, generate: bool) -> None:  # noqa: FBT001
    """Set a password and end every session."""
    password, show = _new_password(from_stdin=password_stdin, generate=generate)
    services = cli.services()
    account = account_of(services, username)
    if not account.enabled:
        raise Refused(f"{account.username} is disabled: enable it first")
    change = services.accounts.change_password(
        account,
        password,
        expires=services.revoker.entry_expiry(),
        reason=str(Reason.OPERATOR),
    )
    services.revoker.complete_id(change.journal_id)
    result: dict[str, object] = {"username": account.username, "changed": True}
    text = f"set the password of {account.username} and ended every session"
    if show:
        result["password"] = password
        text += f", password {password}"
    cli.emit(result, text)


@users.command("roles")
@click.argument("username")
@click.argument("roles", nargs=-1, callback=_roles)
@click.option("--none", "clear", is_flag=True, help="Take every role away.")
@command_options
def users_roles(cli: Cli, username: str, roles: tuple[str, ...], clear: bool) -> None:  # noqa: FBT001
    """Show an account's roles, or set them to exactly ROLES; a lost role takes effect at once."""
    if roles and clear:
        raise click.UsageError("give roles or --none, not both")
    services = cli.services()
    account = account_of(services, username)
    if not roles and not clear:
        roles = account.roles
    change = services.accounts.set_roles(account.id, roles, expires=services.revoker.entry_expiry())
    if change is not None:
        services.revoker.complete_id(change.journal_id)
    cli.emit(
        {"username": account.username, "roles": list(roles)},
        f"{account.username} has roles: {' '.join(roles) or 'none'}",
    )


@users.command("sessions")
@click.argument("username")
@command_options
def users_sessions(cli: Cli, username: str) -> None:
    """List a person's live sessions."""
    services = cli.services()
    found = list_sessions(services, account_of(services, username))
    if cli.as_json:
        cli.table("sessions", [asdict(info) for info in found], "")
        return
    rows = [
        {
            "sid": info.sid,
            "client": info.client_id,
            "device": info.label or info.user_agent,
            "address": info.address,
            "since": moment(info.created),
            "last_active": moment(info.last_active),
        }
        for info in found
    ]
    cli.table("sessions", rows, "no live sessions")


@users.command("factors")
@click.argument("username")
@click.argument("action", required=False, type=click.Choice(["reset"]))
@command_options
def users_factors(cli: Cli, username: str, action: str | None) -> None:
    """List a person's second factors, or take all of them away and end every session (`reset`)."""
    services = cli.services()
    account = account_of(services, username)
    if action == "reset":
        removed = len(changes.reset(services, account))
        cli.emit(
            {"username": account.username, "removed": removed},
            f"removed {removed} factor(s) of {account.username} and ended every session",
        )
        return
    held = services.factors.of(account.id)
    left = services.factors.store.codes_left(account.id)
    if cli.as_json:
        told = [factor.described() for factor in held]
        cli.emit({"factors": told, "recovery_codes_left": left}, "")
        return
    rows = [
        {
            "id": factor.id,
            "kind": factor.kind.value,
            "label": factor.label,
            "since": moment(factor.created),
            "last_used": "" if factor.last_used is None else moment(factor.last_used),
            "state": "locked" if factor.locked else "in use",
        }
        for factor in held
    ]
    cli.table("factors", rows, "no factors: the password is all that is asked for")
    if held:
        cli.emit({}, f"{left} recovery codes left")


@click.group()
def sessions() -> None:
    """Sessions: end one, or all of a person's."""


@sessions.command("end", cls=IdCommand)
@click.argument("sid", required=False, callback=session_id)
@click.option("--user", "username", help="Whose session it is; without SID: all of theirs.")
@command_options
def sessions_end(cli: Cli, sid: str | None, username: str | None) -> None:
    """End the session SID, or every session of --user."""
    services = cli.services()
    sub = None if username is None else account_of(services, username).id
    if sid is not None:
        services.revoker.end_session(sub, sid, reason=Reason.OPERATOR)
        cli.emit({"sid": sid, "ended": True}, f"ended session {sid}")
        return
    if sub is None:
        raise click.UsageError("give a SID, --user, or both")
    change = services.accounts.raise_versions(
        sub, expires=services.revoker.entry_expiry(), reason=str(Reason.OPERATOR)
    )
    services.revoker.complete_id(change.journal_id)
    cli.emit({"username": username, "ended": "all"}, f"ended every session of {username}")


@click.group()
def clients() -> None:
    """Relying parties: list, and enable again (disable one with `revoke client`)."""


@clients.command("list")
@command_options
def clients_list(cli: Cli) -> None:
    """List the configured clients."""
    services = cli.services()
    rows: list[dict[str, object]] = [
        {
            "client_id": client_id,
            "audience": client.audience,
            "confidential": client.secret_sha256 is not None,
            "disabled": services.clients.is_disabled(client_id),
            "access_lifetime": client.access_lifetime,
            "idle": client.idle,
            "absolute": client.absolute,
        }
        for client_id, client in services.settings.clients.items()
    ]
    cli.table("clients", rows, "no clients")


@clients.command("enable")
@click.argument("client_id")
@command_options
def clients_enable(cli: Cli, client_id: str) -> None:
    """Let a disabled client log people in again."""
    if not cli.services().clients.enable(client_id):
        raise NotFound(f"{client_id!r} is not disabled")
    cli.emit({"client_id": client_id, "enabled": True}, f"enabled {client_id}")


@click.group()
def denylist() -> None:
    """The denylist: what it holds."""


@denylist.command("stats")
@command_options
def denylist_stats(cli: Cli) -> None:
    """Count the entries by kind, and say where the feed stands."""
    snapshot = cli.services().denylist.snapshot()
    state = snapshot.state
    # A record that was extended may stand in two buckets until the earlier one expires.
    kinds = {record.key: record.kind for record in snapshot.records}
    counts = Counter(str(kind) for kind in kinds.values())
    result = {
        "entries": dict(sorted(counts.items())),
        "total": counts.total(),
        "seq": state.position.seq,
        "epoch": state.position.epoch,
        "watermark": state.watermark,
        "ready": state.ready,
    }
    by_kind = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
    cli.emit(
        result,
        f"{counts.total()} entries ({by_kind}); feed at {state.position.seq};"
        f" {'ready' if state.ready else 'being filled'}",
    )


@click.group()
def journal() -> None:
    """The journal of revocations."""


@journal.command("complete")
@command_options
def journal_complete(cli: Cli) -> None:
    """Push what was journalled but has not reached the denylist; the issuer does so by itself."""
    cli.operated("journal_complete")
    completed = cli.services().revoker.complete_undone()
    cli.emit({"completed": completed}, f"completed {completed} revocations")
