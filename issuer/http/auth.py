"""`/login`, `/refresh`, `/logout`, `/elevate`, `/password` and the reset of a forgotten one."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from tokens import TokenError
from tokens.assurance import LEVELS

from .. import sessions
from ..accounts import normalise_username
from ..accounts.passwords import MAX_PASSWORD
from ..errors import OAuthError, invalid_request, unavailable
from ..sessions.end import logout_bearer
from .answers import grant_answer
from .body import Fields, read_json
from .client_auth import proven_client
from .cookies import TRANSPORTS, clear_refresh_cookie, refresh_cookie, require_own_origin
from .current import bearer_token, caller, client_address, context, services
from .given_factor import given_factor

blueprint = Blueprint("auth", __name__)

LONGEST_NAME = 320
LONGEST_CLIENT = 255
LONGEST_LABEL = 64
DEFAULT_CLIENT = "demo"
LONGEST_RESET_TOKEN = 256
LONGEST_SCOPE = 1024


@blueprint.post("/login")
def login() -> Response:
    fields = read_json()
    username = fields.line("username", longest=LONGEST_NAME)
    password = fields.text("password", longest=MAX_PASSWORD)
    client_id = fields.optional_line("client_id", longest=LONGEST_CLIENT)
    client_id = client_id or _default_client()
    transport = fields.choice("transport", TRANSPORTS) or "cookie"
    if transport == "cookie":
        # Logging a victim in to the attacker's account is an attack too.
        require_own_origin(services().settings, client_id)
    grant = sessions.login(
        services(),
        username=username,
        password=password,
        client_id=client_id,
        proven_client=proven_client(),
        context=context(_label(fields)),
        given=given_factor(fields),
        address=client_address(),
    )
    if transport == "cookie":
        _end_session_before(client_id)
    return grant_answer(grant, transport)


def _end_session_before(client_id: str) -> None:
    """End the session whose cookie a new one replaces (ASVS 7.2.4); another client's is its own."""
    before = refresh_cookie()
    if before is not None and _client_of(before) == client_id:
        sessions.logout(services(), refresh_token=before)


def _default_client() -> str:
    """`demo` where it is configured, else the only public client. Raises `OAuthError` 400."""
    clients = services().settings.clients
    public = [name for name, client in clients.items() if client.secret_sha256 is None]
    if DEFAULT_CLIENT in public:
        return DEFAULT_CLIENT
    if len(public) != 1:
        raise invalid_request("client_id is missing")
    return public[0]


def _client_of(token: str) -> str | None:
    """The client that a refresh token names; None for a token that is worth nothing."""
    try:
        return services().open_refresh_token(token).client_id
    except TokenError:
        return None


def _label(fields: Fields) -> str:
    return fields.optional_line("label", longest=LONGEST_LABEL) or ""


@blueprint.post("/refresh")
def refresh() -> Response:
    fields = read_json(optional=True)
    active_ago = fields.optional_seconds("active_ago")
    token = fields.optional_text("refresh_token")
    transport = "body"
    if token is None:
        transport = "cookie"
        token = refresh_cookie()
        if token is None:
            raise invalid_request("a refresh token is required, in the body or as the cookie")
        require_own_origin(services().settings, _client_of(token))
    grant = sessions.refresh(
        services(),
        token=token,
        active_ago=active_ago,
        proven_client=proven_client(),
        context=context(),
        address=client_address(),
    )
    return grant_answer(grant, transport)


@blueprint.post("/logout")
def logout() -> Response:
    fields = read_json(optional=True)
    given = fields.optional_text("refresh_token")
    token = given or refresh_cookie()
    if token is None:
        if bearer_token() is None:
            raise invalid_request("a refresh token, its cookie, or a bearer token is required")
        logout_bearer(services(), caller().claims)
        return jsonify({"logged_out": True})
    if given is None:
        require_own_origin(services().settings, _client_of(token))
    ended = sessions.logout(services(), refresh_token=token)
    if not ended and bearer_token() is not None:
        logout_bearer(services(), caller().claims)
        ended = True
    response = jsonify({"logged_out": ended})
    if given is None:
        clear_refresh_cookie(response)
    return response


def _transport_of(fields: Fields) -> str:
    """As the request says, or as the caller's refresh token travels now."""
    usual = "body" if refresh_cookie() is None else "cookie"
    return fields.choice("transport", TRANSPORTS) or usual


@blueprint.post("/password")
def password() -> Response:
    fields = read_json()
    current_password = fields.text("current_password", longest=MAX_PASSWORD)
    new_password = fields.text("new_password", longest=MAX_PASSWORD)
    transport = _transport_of(fields)
    who = caller()
    if transport == "cookie":
        require_own_origin(services().settings, who.claims.client_id)
    grant = sessions.change_password(
        services(),
        claims=who.claims,
        account=who.account,
        current_password=current_password,
        new_password=new_password,
        context=context(_label(fields)),
        given=given_factor(fields),
        reauthentication_due=who.reauthentication_due,
        address=client_address(),
    )
    return grant_answer(grant, transport)


@blueprint.post("/elevate")
def elevate() -> Response:
    fields = read_json()
    current_password = fields.text("current_password", longest=MAX_PASSWORD)
    wanted = fields.optional_line("scope", longest=LONGEST_SCOPE) or ""
    acr = fields.choice("acr", LEVELS) or ""
    transport = _transport_of(fields)
    who = caller()
    if transport == "cookie":
        require_own_origin(services().settings, who.claims.client_id)
    grant = sessions.elevate(
        services(),
        who,
        password=current_password,
        given=given_factor(fields),
        scopes=wanted.split(),
        acr=acr,
        context=context(_label(fields)),
        address=client_address(),
    )
    if transport == "cookie":
        _end_session_before(who.claims.client_id)
    return grant_answer(grant, transport)


@blueprint.post("/password/forgot")
def forgot() -> tuple[Response, int]:
    username = read_json().line("username", longest=LONGEST_NAME)
    desk = services().resets
    if not desk.open:
        raise OAuthError(404, "not_found", "this issuer does not reset passwords")
    name = normalise_username(username)
    wanted = services().limits.resets.request(name, client_address())
    if wanted and not desk.request(username):
        raise unavailable("too many resets are waiting; try again", retry_after=30)
    return jsonify({"accepted": True}), 202


@blueprint.post("/password/reset")
def reset() -> Response:
    fields = read_json()
    token = fields.text("token", longest=LONGEST_RESET_TOKEN)
    new_password = fields.text("new_password", longest=MAX_PASSWORD)
    sessions.reset_password(
        services(), token=token, new_password=new_password, address=client_address()
    )
    return jsonify({"changed": True})
