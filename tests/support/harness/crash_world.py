"""A real issuer that dies at a crash point, what it acknowledged before, and its gateway."""

from __future__ import annotations

import contextlib
import http.client
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from harness import crash_mail
from harness.crash_operations import (
    NEW_PASSWORD,
    PASSWORD,
    Operation,
    Reply,
    Scene,
    add_account,
    crash_settings,
    kid_of,
    relying_parties,
)
from harness.gatepass_command import Completed, Gatepass, Running
from harness.issuer_app import CHEAP_HASHING, claims_of
from harness.issuer_process import reaches
from harness.processes import free_port, until
from harness.served_issuer import toml
from harness.web import ask

from gateway import Verifier
from issuer.crash_points import CrashPoint
from issuer.database import open_engine
from issuer.database.tables import journal
from revocation import Kind, TokenRevoked, open_denylist
from tokens import AccessClaims, UnknownKid

HEARTBEAT_INTERVAL = 0.25
PATIENCE = 20.0
READY = 60.0
"""Seconds for a start on a machine that does much else; a bound of nothing but the waiting."""


class LiveIssuer:
    """Implements `Stage` with one `gatepass serve`, which gets a signal at an armed crash point."""

    def __init__(
        self,
        gatepass: Gatepass,
        directory: Path,
        settings: Mapping[str, Any],
        *,
        alterations: Sequence[str] = (),
        port: int,
        signalled: str = "kill-at",
    ) -> None:
        """`signalled` is the alteration that signals it."""
        self.directory = directory
        self.settings = {**settings, "port": port}
        self._url = f"http://127.0.0.1:{port}"
        self._gatepass = gatepass
        self._alterations = ["quick", *alterations]
        self._signalled = signalled
        self._clients = iter(relying_parties())
        self._issuer: Running | None = None
        (directory / "gatepass.toml").write_text(toml(self.settings))
        self._env = {
            "GATEPASS_CONFIG": str(directory / "gatepass.toml"),
            crash_mail.VARIABLE: str(directory),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- the issuer ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the issuer and wait until its stores answer through it."""
        self.launch()
        issuer = self.running()
        for _ in until(READY, "an issuer that is ready", pause=0.005):
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask("GET", f"{self._url}/readyz").status == 200:
                    return
            assert not issuer.ended, issuer.stderr()

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        self._issuer = self._gatepass.start(
            "serve",
            env=self._env,
            directory=self.directory,
            alterations=[f"{self._signalled}={self.fuse('serve')}", *self._alterations],
        )

    def running(self) -> Running:
        """The issuer's process."""
        assert self._issuer is not None
        return self._issuer

    def kill(self) -> None:
        """End it by SIGKILL if it runs."""
        if self._issuer is not None:
            self._issuer.kill()
            self._issuer = None

    def is_killed(self) -> None:
        """It has died of what was armed."""
        issuer, self._issuer = self.running(), None
        done = issuer.completed()
        assert done.code == -signal.SIGKILL, done

    def fuse(self, who: str) -> Path:
        """The file that names the point at which the issuer, or a command, is signalled."""
        return self.directory / f"kill-{who}"

    def arm(self, point: CrashPoint, who: str) -> None:
        """Have it signalled at its next passage of a point."""
        fresh = self.directory / "kill-next"
        fresh.write_text(point)
        fresh.replace(self.fuse(who))

    # --- the stage ----------------------------------------------------------------------------

    @property
    def database_url(self) -> str:
        return str(self.settings["database_url"])

    def ask(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        answer = ask(method, self._url + path, json_body=json, token=token, form=form)
        return Reply(answer.status, answer.json if answer.content else {})

    def command(
        self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> Completed:
        return self._gatepass(
            *arguments,
            stdin=stdin,
            env={**self._env, **(env or {})},
            directory=self.directory,
            alterations=[f"kill-at={self.fuse('command')}", *self._alterations],
        )

    def take_client(self) -> str:
        return next(self._clients)

    def mail(self, username: str) -> str | None:
        path = self.directory / username
        for _ in until(PATIENCE, "a reset token"):
            if path.exists():
                break
        return path.read_text()


class CrashWorld(LiveIssuer):
    """An issuer that dies, with a Redis, a database, keys and a gateway."""

    def __init__(
        self,
        gatepass: Gatepass,
        database_url: str,
        redis_url: str,
        directory: Path,
        *,
        alterations: Sequence[str] = (),
        patience: float = PATIENCE,
        dies_first_at: CrashPoint | None = None,
        **changes: Any,
    ) -> None:
        """`patience`: seconds for what an issuer completes by itself."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "issuer": self.url,
            "mode": "development",
            "database_url": database_url,
            "redis_url": redis_url,
            "keys_dir": str(directory / "keys"),
            "workers": 1,
            "heartbeat_interval": HEARTBEAT_INTERVAL,
            "hashing": CHEAP_HASHING,
            "log_level": "WARNING",
            "reset_sender": "crash_mail:post",
            **crash_settings(),
            **changes,
        }
        super().__init__(gatepass, directory, settings, alterations=alterations, port=port)
        self._patience = patience
        self._dies_first_at = dies_first_at
        self._engine = open_engine(database_url)
        self._denylist = open_denylist(redis_url)
        self.gateway = Verifier(
            issuer=self.url,
            audience="api",
            denylist=redis_url,
            heartbeat_interval=HEARTBEAT_INTERVAL,
            max_staleness=60.0,
        )

    def beside(self, *, alterations: Sequence[str] = (), signalled: str) -> LiveIssuer:
        """Another issuer of the same deployment."""
        directory = self.directory / "beside"
        directory.mkdir()
        return LiveIssuer(
            self._gatepass,
            directory,
            self.settings,
            alterations=alterations,
            port=free_port(),
            signalled=signalled,
        )

    def __enter__(self) -> Self:
        try:
            if self._dies_first_at is not None:
                self.arm(self._dies_first_at, "serve")
                self.launch()
                self.is_killed()
            self.start()
            self.gateway.start()
            assert self.gateway.replica.wait_in_step(READY)
            self._acknowledge()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the issuer and let go of everything."""
        self.kill()
        self.gateway.stop()
        self._denylist.close()
        self._engine.dispose()

    # --- what holds ---------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        """What no later death may undo: a logout, a password change, a revoked token."""
        scenes = {name: self._scene() for name in ("logout", "change", "token", "nothing")}
        self.earlier = scenes
        self.ask("POST", "/logout", {"refresh_token": scenes["logout"].token()}).granted()
        self.ask(
            "POST",
            "/password",
            {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"},
            token=scenes["change"].access(),
        ).granted()
        self.ask("POST", "/revoke", form={"token": scenes["token"].access()}).granted()

    def _scene(self) -> Scene:
        scene = Scene(self, add_account(self.database_url), "demo")
        scene.grants["first"] = scene.login().granted()
        self.accepts(scene.access())
        return scene

    def holds_what_was_acknowledged(self) -> None:
        """Earlier ends stay ends, and a session that nobody ended goes on."""
        for name in ("logout", "change", "token"):
            self.refuses(self.earlier[name].access())
        for name in ("logout", "change"):
            assert self.earlier[name].refresh().status == 400
        assert self.earlier["change"].login(PASSWORD).status == 400
        self.goes_on(self.earlier["nothing"])

    def settle(self) -> None:
        """Wait until the issuer has completed what was begun, and the gateway knows of it."""
        for _ in until(self._patience, "a journal without undone rows", pause=0.005):
            if self.undone() == 0:
                break
        reaches(self.gateway.replica, self._denylist.state().position)

    def undone(self) -> int:
        """How many journal rows have not reached the denylist."""
        query = sa.select(sa.func.count()).select_from(journal).where(sa.not_(journal.c.done))
        with self._engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def refuses(self, access_token: str) -> None:
        """The gateway refuses the token as revoked."""
        try:
            self.gateway.verify(access_token)
        except TokenRevoked:
            return
        except UnknownKid:
            # Its key has left the ring; a gateway that has kept it goes by the denylist.
            claims = AccessClaims.from_payload(claims_of(access_token))
            with contextlib.suppress(TokenRevoked):
                self.gateway.replica.check(claims, kid_of(access_token))
                raise AssertionError("the denylist lacks a token that was revoked") from None
            return
        raise AssertionError("the gateway accepts a token that was revoked")

    def accepts(self, access_token: str) -> None:
        """The gateway accepts the token."""
        self.gateway.verify(access_token)

    def goes_on(self, scene: Scene, session: str = "first") -> None:
        """The session refreshes, and the gateway accepts what that gives.

        After a client or a key was revoked, it does so once the second, or the issuer's copy of
        the ring, is another.
        """
        for _ in until(PATIENCE, "a token that is accepted", pause=0.05):
            scene.refresh(session).granted()
            try:
                self.accepts(scene.access(session))
            except TokenRevoked as error:
                if error.kind not in {Kind.KEY, Kind.CLIENT}:
                    raise
            except UnknownKid:
                continue
            else:
                return


def die_in(world: CrashWorld, operation: Operation, point: CrashPoint) -> Scene:
    """Do the operation, be killed at the point, and be up again."""
    scene = _scene(world, operation)
    if operation.is_command:
        # The issuer's worker would take the key out of the ring before the command gets there.
        away = point.startswith("keys.")
        if away:
            world.kill()
        world.arm(point, "command")
        done = operation.act(scene)
        assert isinstance(done, Completed)
        assert done.code == -signal.SIGKILL, done
        if away:
            world.start()
    else:
        world.arm(point, "serve")
        with contextlib.suppress(OSError, http.client.HTTPException):
            operation.act(scene)
        world.is_killed()
        world.start()
    return scene


def _scene(world: CrashWorld, operation: Operation) -> Scene:
    if not operation.keys:
        return operation.scene(world)
    # After a key was revoked, the issuer signs with it until it has read the ring again.
    for _ in until(PATIENCE, "a token under a good key", pause=0.05):
        scene = operation.scene(world)
        with contextlib.suppress(TokenRevoked, UnknownKid):
            world.accepts(scene.access())
            return scene
    raise AssertionError("unreachable")


def check_after_death(
    world: CrashWorld, operation: Operation, point: CrashPoint, scene: Scene
) -> None:
    """Nothing is half done, nothing that was acknowledged is undone, and a retry succeeds."""
    if point is CrashPoint.REFRESH_ROTATED and operation.refresh_refused:
        # Only the family knows of the reuse. Whoever meets it next completes its end: the client
        # itself, whose request was not answered.
        operation.do(scene)
    if point is CrashPoint.ELEVATION_FAMILY_MADE:
        # Nobody was told of the new session, and the old one goes on: a retry replaces it.
        world.accepts(scene.access())
        operation.do(scene)
    world.settle()
    _check_ended(world, operation, scene)
    # With tokens of its own, so that the retry below has those of before.
    lives = replace(scene, grants=dict(scene.grants))
    for session in sorted(set(scene.grants) - operation.refresh_refused):
        if session not in operation.access_refused and not operation.keys:
            world.accepts(scene.access(session))
        world.goes_on(lives, session)
    operation.do_again(scene)
    world.settle()
    _check_ended(world, operation, scene)
    world.holds_what_was_acknowledged()


def _check_ended(world: CrashWorld, operation: Operation, scene: Scene) -> None:
    """Gateway and refresh refuse what the operation was to end."""
    for session in operation.access_refused:
        world.refuses(scene.access(session))
    for session in operation.refresh_refused:
        assert scene.refresh(session).status == 400
