"""What a route asks of a token: one path segment, fixed in the configuration of its gateway.

`scope=orders:write&role=editor&acr=aal2&max_age=300&policy=ask`, or `any`. It stands before
everything that a client can choose: some gateways put the client's own path and query behind the
address that they ask (Envoy's `path_prefix`), so only the first segment counts and the query string
is never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from revocation import StalePolicy
from tokens import AccessClaims
from tokens.assurance import reaches

from .errors import InsufficientAuthentication, InsufficientScope

ROOT = b"/verify"
ANY = b"any"

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
"""RFC 6749 section 3.3: scope-token; an `acr` has no other characters either, being quoted."""
_SECONDS = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
MOST_SECONDS = 999_999_999


class UnknownRequirement(ValueError):
    """A path that says nothing of what the route asks, or says it wrongly."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """All of these scopes and all of these roles, and what holds while the replica is too old."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    policy: StalePolicy | None = None
    """None for the service's own."""
    acr: str = ""
    """How well the person must have been authenticated: this level or a higher one."""
    max_age: int | None = None
    """How many seconds ago at the most."""

    def __post_init__(self) -> None:
        if self.acr and not _SCOPE.match(self.acr):
            raise ValueError("acr holds a character that no challenge can quote")
        if self.max_age is not None and not 0 <= self.max_age <= MOST_SECONDS:
            raise ValueError("max_age is no number of seconds")

    def check(self, claims: AccessClaims, now: float, leeway: int) -> None:
        """Raise `InsufficientAuthentication` or `InsufficientScope` unless a token is enough.

        The first first: a person who authenticates again may get a scope that was missing.
        """
        if (self.acr and not reaches(claims.acr, self.acr)) or (
            self.max_age is not None and now - claims.auth_time > self.max_age + leeway
        ):
            raise InsufficientAuthentication(self.acr, self.max_age, self.scopes)
        if not (self.scopes <= claims.scopes and self.roles.issubset(claims.roles)):
            raise InsufficientScope(self.scopes)


def requirement_of(path: bytes) -> Requirement:
    """What the raw path of a request asks for. Raises `UnknownRequirement`."""
    if path == ROOT:
        return Requirement()
    root, _, rest = path[1:].partition(b"/")
    segment = rest.partition(b"/")[0]
    if root != ROOT[1:] or not path.startswith(b"/"):
        raise UnknownRequirement("no such path")
    return Requirement() if segment == ANY else _parse(segment)


# By the segment alone: what a client has behind it may be long, and is another one each time.
@lru_cache(maxsize=1024)
def _parse(segment: bytes) -> Requirement:
    scopes: set[str] = set()
    roles: set[str] = set()
    policies: list[StalePolicy] = []
    levels: list[str] = []
    ages: list[int] = []
    for part in segment.split(b"&"):
        name, found, raw = part.partition(b"=")
        try:
            value = unquote_to_bytes(raw).decode()
            if not found or not value:
                raise UnknownRequirement("each part is a name, an equals sign and a value")
            if name == b"scope" and _SCOPE.match(value):
                scopes.add(value)
            elif name == b"role":
                roles.add(value)
            elif name == b"policy":
                policies.append(StalePolicy(value))
            elif name == b"acr" and _SCOPE.match(value):
                levels.append(value)
            elif name == b"max_age" and _SECONDS.match(value):
                ages.append(int(value))
            else:
                raise UnknownRequirement("a part is no scope, role, acr, max_age or policy")
        except UnicodeDecodeError:
            raise UnknownRequirement("a value is not UTF-8") from None
        except ValueError as error:
            raise UnknownRequirement(str(error)) from None
    if max(len(policies), len(levels), len(ages)) > 1:
        raise UnknownRequirement("more than one policy, acr or max_age")
    return Requirement(
        frozenset(scopes),
        frozenset(roles),
        next(iter(policies), None),
        next(iter(levels), ""),
        next(iter(ages), None),
    )


def segment_of(requirement: Requirement) -> str:
    """The path segment that asks for this."""
    pairs = [("scope", scope) for scope in sorted(requirement.scopes)]
    pairs += [("role", role) for role in sorted(requirement.roles)]
    if requirement.acr:
        pairs.append(("acr", requirement.acr))
    if requirement.max_age is not None:
        pairs.append(("max_age", str(requirement.max_age)))
    if requirement.policy is not None:
        pairs.append(("policy", requirement.policy.value))
    return "&".join(f"{name}={quote(value, safe=':')}" for name, value in pairs) or ANY.decode()
