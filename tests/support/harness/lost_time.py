"""A database that goes back in time under an issuer, and what must not work again afterwards."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from harness.issuer_app import NEW_PASSWORD, PASSWORD, IssuerApp, granted

from issuer.backup import BackupFile, write_backup
from issuer.database.engine import writing
from issuer.database.tables import metadata
from issuer.factors.sql_factors import replace_codes
from issuer.journal import Reason
from issuer.lost_time import Restored
from issuer.positions import Positions
from issuer.pulse import Pulse
from issuer.restoring import restore
from keys import Key
from revocation import Entry, Probe
from tokens import AccessClaims, AccessVerifier, TokenError, UnknownKid, VerificationKey, sign

CHANGES = 3
"""Password changes in the time that is lost."""
LONGEST = 600
"""Seconds after which no token of a test's client can be alive."""


@dataclass
class LostTime:
    """Everything that was handed out before the database went back."""

    issuer: IssuerApp
    path: Path
    access: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    """Every key that a gateway may have cached."""
    stolen: Key | None = None
    reset: str = ""
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The database as it was, as a volume's snapshot has it."""

    # --- living ------------------------------------------------------------------------------

    def take(self, grant: dict[str, Any]) -> dict[str, Any]:
        """Remember what was granted."""
        self.access.append(grant["access_token"])
        self.refresh.append(grant["refresh_token"])
        self.learn_keys()
        return grant

    def learn_keys(self) -> None:
        self.keys |= self.issuer.services.keys.ring.verification_keys()

    def begin(self) -> None:
        """What both the old and the new history have; ends with the backup."""
        issuer = self.issuer
        self.take(issuer.grant())
        self.take(issuer.grant())
        self.take(issuer.grant(client_id="kiosk"))
        self.reset = issuer.forgot() or ""
        assert self.reset
        services = issuer.services
        with writing(services.engine) as connection:
            replace_codes(connection, issuer.account.id, ["one that is spent later"])
        self.rows = {table: issuer.rows(table) for table in metadata.tables}
        write_backup(
            services.engine,
            self.path,
            issuer=services.settings.issuer,
            now=int(services.clock()),
        )

    def go_on(self) -> None:
        """What is lost: password changes, a reset, a logout, a revoked token, a revoked key."""
        issuer, services = self.issuer, self.issuer.services
        issuer.clock.advance(1)
        granted(issuer.post("/password/reset", {"token": self.reset, "new_password": NEW_PASSWORD}))
        old, new = NEW_PASSWORD, PASSWORD
        for _ in range(CHANGES):
            access = self.take(issuer.grant(password=old))["access_token"]
            self.take(granted(issuer.change_password(access, old, new)))
            old, new = new, old
        gone = self.take(issuer.grant(password=old))
        assert issuer.logout(gone["refresh_token"]).status_code == 200
        revoked = self.take(issuer.grant(password=old))
        assert issuer.revoke(revoked["access_token"]).status_code == 200
        self.stolen = services.signing_key()
        services.revoker.revoke(Entry.key(self.stolen.kid), reason=Reason.KEY)
        services.keys.tick()
        self.take(issuer.grant(password=old))

    # --- going back --------------------------------------------------------------------------

    def put_back(self) -> None:
        """Make the database what it was, by other means than ours."""
        with self.issuer.services.engine.begin() as connection:
            for name, rows in self.rows.items():
                connection.execute(sa.delete(metadata.tables[name]))
                if rows:
                    connection.execute(sa.insert(metadata.tables[name]), rows)

    def restore(self, mode: str, *, without_redis: bool = False) -> Restored:
        """`file`: over the rows that are there; `in-place`: after `put_back`."""
        services = self.issuer.services
        if mode == "in-place":
            self.put_back()
        backup = BackupFile(self.path) if mode == "file" else None
        return restore(
            services.settings,
            backup,
            replace_rows=mode == "file",
            without_redis=without_redis,
            clock=services.clock,
        )

    # --- looking -----------------------------------------------------------------------------

    def violations(self) -> set[str]:
        """What works though it must not; empty where a restore was safe."""
        found: set[str] = set()
        issuer, services = self.issuer, self.issuer.services
        self.start_issuer()
        if issuer.undone():
            found.add("undone")
        if issuer.rows("password_resets"):
            found.add("reset")
        if issuer.rows("recovery_codes"):
            found.add("recovery code")
        if self._forged_is_accepted():
            found.add("stolen key")
        answer = issuer.post("/password/reset", {"token": self.reset, "new_password": PASSWORD})
        if answer.status_code == 200:
            found.add("reset")
        for _ in range(4):
            if any(self.accepts(token) for token in self.access):
                found.add("access")
            issuer.clock.advance(LONGEST / 4)
        for _ in range(2 * CHANGES):
            if any(issuer.refresh(token).status_code == 200 for token in self.refresh):
                found.add("refresh")
            # Password changes that would lead back to the numbers of before.
            services.accounts.raise_versions(
                issuer.account.id, expires=services.revoker.entry_expiry(), reason="version"
            )
            services.revoker.complete_undone()
        return found

    def start_issuer(self) -> None:
        """What the first seconds of an issuer do: read the ring, fill the denylist, beat."""
        services = self.issuer.services
        services.keys.tick()
        pulse = Pulse(
            services.denylist,
            services.journal,
            services.revoker,
            Positions(services.engine),
            heartbeat_interval=services.settings.heartbeat_interval,
            access_lifetimes=frozenset({300}),
            # The denylist's: it stands still while the machine is busy.
            wall_clock=services.clock,
        )
        pulse.beat()

    def accepts(self, token: str) -> bool:
        """Whether a gateway that asks the denylist, and has cached every key, lets it through."""
        services = self.issuer.services
        verifier = AccessVerifier(
            issuer=services.settings.issuer,
            audience=["api", "kiosk-api"],
            find_key=self._find_key,
            leeway=services.settings.leeway,
            max_lifetime=3600,
            clock=services.clock,
        )
        try:
            claims, kid = verifier.verify_with_key(token)
        except TokenError:
            return False
        probe = Probe.of(claims, kid, services.denylist.state().salt)
        return services.denylist.lookup(probe) is None

    def _find_key(self, kid: str) -> VerificationKey:
        self.learn_keys()
        key = self.keys.get(kid)
        if key is None or key.public is None:
            raise UnknownKid(kid)
        return VerificationKey.of(kid, key.alg, key.public)

    def _forged_is_accepted(self) -> bool:
        """A thief who has the revoked key chooses his own times and versions."""
        assert self.stolen is not None
        issuer, services = self.issuer, self.issuer.services
        now = int(services.clock()) + services.settings.issuer_skew + 1
        issuer.clock.advance(services.settings.issuer_skew + 1)
        claims = AccessClaims(
            iss=services.settings.issuer,
            sub=issuer.account.id,
            aud=("api",),
            client_id="demo",
            iat=now,
            exp=now + 300,
            jti="J" * 21 + "A",
            sid="S" * 21 + "A",
            auth_time=now,
            sub_ver=1 << 50,
            amr=("pwd",),
            scope="",
            roles=(),
        )
        return self.accepts(sign(claims, self.stolen))


def rewrite(path: Path, edit: Callable[[list[Any]], None], *, fewer_tables: bool = False) -> None:
    """Change a backup's lines, and make its digest fit them again.

    `fewer_tables`: the counts are of those tables alone that are left.
    """
    *lines, end = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    edit(lines)
    if fewer_tables:
        tables = {line["table"] for line in lines if isinstance(line, dict) and "table" in line}
        end["rows"] = {name: count for name, count in end["rows"].items() if name in tables}
    packed = [json.dumps(line).encode() + b"\n" for line in lines]
    end["sha256"] = hashlib.sha256(b"".join(packed)).hexdigest()
    path.write_bytes(gzip.compress(b"".join(packed) + json.dumps(end).encode() + b"\n"))
