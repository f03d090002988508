"""An administrator signs in and out."""

from __future__ import annotations

import re

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from ..accounts.passwords import MAX_PASSWORD
from ..errors import OAuthError, invalid_grant, too_many_requests
from ..factors import FactorRequired
from ..http.body import read_form
from ..http.cookies import sent_cookie
from ..http.current import client_address, context
from ..limits.errors import TooManyRequests
from . import guard
from .asked import LONGEST_NAME
from .blueprint import blueprint
from .guard import administrator, sessions
from .second_step import given_factor
from .session import NoConsole

_BACK = re.compile(r"/console(?:/[A-Za-z0-9_-]+)*/?(?:\?[A-Za-z0-9_=&%.:+-]*)?\Z")
"""A page of ours, and nothing that a browser could read as another site."""


@blueprint.get("/sign-in")
def sign_in_form() -> str:
    return render_template("console/sign_in.html", back=_way_back(request.args.get("next")))


@blueprint.post("/sign-in")
def sign_in() -> Response | tuple[str, int, dict[str, str]]:
    given = read_form()
    filled = given.given()
    back, wanted = _way_back(filled.get("next")), None
    try:
        if "username" not in filled or "password" not in filled:
            raise invalid_grant("give user name and password")
        admin = sessions().sign_in(
            given.line("username", longest=LONGEST_NAME),
            given.text("password", longest=MAX_PASSWORD),
            given_factor(filled),
            context(),
            client_address(),
        )
    except NoConsole:
        problem = OAuthError(403, "access_denied", "this account may not use the console")
    except FactorRequired as error:
        problem, wanted = OAuthError(403, error.code, guard.FACTOR_WANTED), error
    except OAuthError as error:
        problem = error
    except TooManyRequests as error:
        problem = too_many_requests(error.retry_after)
    else:
        sessions().end_before(sent_cookie(guard.COOKIE))
        guard.keep(admin)
        return redirect(back, 303)
    page = render_template(
        "console/sign_in.html",
        back=back,
        problem=problem.description,
        wanted=wanted,
        username=filled.get("username", ""),
    )
    return page, problem.status, dict(problem.headers)


def _way_back(path: str | None) -> str:
    return path if path and _BACK.match(path) else url_for("console.overview")


@blueprint.post("/sign-out")
def sign_out() -> Response:
    sessions().sign_out(administrator())
    guard.forget()
    return redirect(url_for("console.sign_in_form", did="signed-out"), 303)
