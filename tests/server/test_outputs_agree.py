"""Whoever is asked says the same of a token: every way in which a revocation leaves the issuer.

One `gatepass serve` on Redis. After each kind of revocation the denylist itself, a replica on
Redis, a replica on the HTTP feed, introspection, the status list and a gateway of its audience are
asked about every token that was ever issued here, and must all come to what is expected, within the
time that each takes. One audience has its tokens sealed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from harness.gatepass_command import Gatepass
from harness.issuer_app import NEW_PASSWORD, PASSWORD, basic, claims_of, migrated_sqlite
from harness.issuer_app import SECRET as CLIENT_SECRET
from harness.processes import until
from harness.redis_server import RedisServer
from harness.served_issuer import SETTINGS_FILE, ServedIssuer
from joserfc.jwk import ECKey

from gateway import KeysUnavailable, Verifier
from revocation import Entry, Probe, Replica, RevocationError, TokenRevoked
from revocation.http_connection import with_credentials
from tokens import AccessClaims, Recipient, TokenError, is_sealed, unseal

SECRET = "a secret of this gateway"
DIGEST = hashlib.sha256(CLIENT_SECRET.encode()).hexdigest()
AUDIENCES = {"demo": "api", "kiosk": "kiosk-api", "shop": "shop-api", "vault": "vault-api"}
PAIR = ECKey.generate_key("P-256", {"kid": "vault-1"})
"""Of the audience `vault-api`, for which tokens are sealed."""
RECIPIENTS = {"vault-1": Recipient.from_jwk(PAIR.as_dict(private=True))}
PEOPLE = ("ann", "bob", "carol", "dave", "erin")
SETTLED = 20.0
"""Seconds for all to agree: a status list is made every two, a key is looked for every ten."""


@dataclass(frozen=True, eq=False)
class Issued:
    """One access token, and what belongs to it."""

    text: str
    signed: str
    """The same, or what is inside where it is sealed."""
    refresh: str
    claims: AccessClaims
    kid: str
    status: tuple[str, int]

    @classmethod
    def of(cls, grant: dict[str, Any], base_url: str) -> Issued:
        text = grant["access_token"]
        signed = unseal(text, RECIPIENTS) if is_sealed(text) else text
        payload = claims_of(signed)
        place = payload["status"]["status_list"]
        return cls(
            text,
            signed,
            grant["refresh_token"],
            AccessClaims.from_payload(payload),
            jwt.get_unverified_header(signed)["kid"],
            (place["uri"].removeprefix(base_url), place["idx"]),
        )


Output = Callable[[Issued], bool]
"""Whether one of them calls a token revoked."""


@dataclass
class World:
    """An issuer, its readers, and every token with what is expected of it."""

    issuer: ServedIssuer
    gatepass: Gatepass
    verifiers: dict[str, Verifier]
    gateways: dict[str, Verifier]
    """One for each audience, of which none can read what is sealed but the one that has the key."""
    revoked: dict[Issued, bool] = field(default_factory=dict)

    def log_in(self, username: str, client_id: str = "demo") -> Issued:
        """A new token, which nothing refuses."""
        grant = self.issuer.site.login(username, PASSWORD, client_id=client_id).granted()
        return self.keep(grant)

    def keep(self, grant: dict[str, Any]) -> Issued:
        issued = Issued.of(grant, self.issuer.url)
        self.revoked[issued] = False
        return issued

    def command(self, *arguments: str, stdin: str = "") -> None:
        """An operator's command."""
        env, directory = {"GATEPASS_CONFIG": SETTINGS_FILE}, self.issuer.directory
        self.gatepass(*arguments, stdin=stdin, directory=directory, env=env).done()

    # --- the outputs -------------------------------------------------------------------------

    @property
    def outputs(self) -> dict[str, Output]:
        return {
            "denylist": self.by_lookup,
            "replica on Redis": lambda issued: by_replica(self.verifiers["Redis"].replica, issued),
            "replica on HTTP": lambda issued: by_replica(self.verifiers["HTTP"].replica, issued),
            "lookup over HTTP": lambda issued: self.by_lookup(issued, "HTTP"),
            "introspection": self.by_introspection,
            "status list": self.by_status_list,
            "gateway": self.by_gateway,
        }

    def by_lookup(self, issued: Issued, way: str = "Redis", asked: int = 99) -> bool:
        denylist = self.verifiers[way]._denylist
        probe = Probe.of(issued.claims, issued.kid, denylist.state().salt)
        keys = (*probe.keys[:asked], *(key[:1] + bytes(16) for key in probe.keys[asked:]))
        shorter = Probe.of_keys(probe.salt, keys, probe.sub_ver, probe.iat)
        return denylist.lookup(shorter) is not None

    def by_introspection(self, issued: Issued) -> bool:
        (audience,) = issued.claims.aud
        # The issuer cannot read what it has sealed, so the audience asks about what is inside.
        answer = self.issuer.site.post(
            "/introspect", form={"token": issued.signed}, headers=basic(f"rs-{audience}")
        )
        return not answer.granted()["active"]

    def by_status_list(self, issued: Issued, *, first_bit_is_highest: bool = False) -> bool:
        path, place = issued.status
        answer = self.issuer.site.get(path)
        if answer.status == 503:
            raise RevocationError("not in step")
        assert answer.status == 200, answer
        packed = claims_of(answer.content.decode())["status_list"]["lst"]
        octets = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        bit = 7 - place % 8 if first_bit_is_highest else place % 8
        return bool(octets[place // 8] >> bit & 1)

    def by_gateway(self, issued: Issued) -> bool:
        (audience,) = issued.claims.aud
        try:
            self.gateways[audience].verify(issued.text)
        except (TokenRevoked, TokenError):  # the latter where its key is gone
            return True
        return False

    # --- whether they agree ------------------------------------------------------------------

    def wrong(self, outputs: dict[str, Output]) -> dict[str, list[str]]:
        """Of whom each output says something else than is expected."""
        found = {}
        for name, output in outputs.items():
            named = []
            for issued, expected in self.revoked.items():
                try:
                    verdict: object = output(issued)
                except (RevocationError, KeysUnavailable) as error:
                    verdict = error.code
                if verdict != expected:
                    named.append(f"{issued.claims.client_id} {issued.claims.jti}: {verdict}")
            if named:
                found[name] = named
        return found

    def agree(self) -> None:
        """Wait until all say what is expected."""
        found: dict[str, list[str]] = {}
        try:
            for _ in until(SETTLED, "agreement", pause=0.2):
                found = self.wrong(self.outputs)
                if not found:
                    return
        except TimeoutError:
            assert found == {}, found

    def revoke(self, *those: Issued) -> None:
        """Expect these to be refused from now on."""
        self.revoked |= dict.fromkeys(those, True)


def by_replica(replica: Replica, issued: Issued) -> bool:
    try:
        replica.check(issued.claims, issued.kid)
    except TokenRevoked:
        return True
    return False


@pytest.fixture
def world(redis_server: RedisServer, issuer_directory: Path, gatepass: Gatepass) -> Iterator[World]:
    """A running issuer whose clients all ask for status lists, and gateways."""
    redis_server.reset()
    clients: dict[str, Any] = {
        name: {"audience": audience, "status_list": True} for name, audience in AUDIENCES.items()
    }
    clients |= {
        f"rs-{audience}": {"audience": audience, "introspect": True, "secret_sha256": DIGEST}
        for audience in AUDIENCES.values()
    }
    database = migrated_sqlite(issuer_directory / "issuer.db")
    issuer = ServedIssuer(
        issuer_directory,
        f"sqlite:///{database}",
        redis_server.unix_url,
        clients=clients,
        audiences={"vault-api": {"encryption_jwk": PAIR.as_dict(private=False)}},
        gateways={"edge": {"secret_sha256": hashlib.sha256(SECRET.encode()).hexdigest()}},
    )
    with ExitStack() as stack:
        stack.enter_context(issuer)
        feed = with_credentials(f"{issuer.url}/revocations", "edge", SECRET)
        verifiers = {
            name: stack.enter_context(
                Verifier(
                    issuer=issuer.url, audience="api", denylist=denylist, heartbeat_interval=0.25
                )
            )
            for name, denylist in (("Redis", redis_server.unix_url), ("HTTP", feed))
        }
        gateways = {
            audience: stack.enter_context(
                Verifier(
                    issuer=issuer.url,
                    audience=audience,
                    denylist=redis_server.unix_url,
                    heartbeat_interval=0.25,
                    recipients=RECIPIENTS if client == "vault" else None,
                    require_sealed=client == "vault",
                )
            )
            for client, audience in AUDIENCES.items()
        }
        made = World(issuer, gatepass, verifiers, gateways)
        for person in PEOPLE:
            made.command(
                "users", "add", person, "--role", "editor", "--password-stdin", stdin=PASSWORD
            )
        yield made


def test_every_output_says_the_same(world: World) -> None:
    """After each kind of revocation all agree about each token; a reader with a flaw would not."""
    site = world.issuer.site
    every = {
        (person, client): world.log_in(person, client) for person in PEOPLE for client in AUDIENCES
    }
    spared = world.log_in("ann")
    world.agree()

    # Token.
    site.post("/revoke", form={"token": every["ann", "demo"].text}).granted()
    world.revoke(every["ann", "demo"])
    world.agree()

    # Session.
    site.post("/logout", {"refresh_token": every["ann", "kiosk"].refresh}).granted()
    world.revoke(every["ann", "kiosk"])
    world.agree()
    # A verifier that takes the bits of a status list the wrong way round.
    assert world.wrong(
        {"x": lambda issued: world.by_status_list(issued, first_bit_is_highest=True)}
    )

    # Subject, by a password change: who made it goes on.
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}
    grant = site.post("/password", change, token=every["bob", "demo"].text).granted()
    world.revoke(*(every["bob", client] for client in AUDIENCES))
    world.keep(grant)
    world.agree()
    # A look-up that asks for token and session alone.
    assert world.wrong({"x": lambda issued: world.by_lookup(issued, asked=2)})

    # Subject, by a role that is taken away, and by disabling.
    world.command("users", "roles", "carol", "--none")
    world.revoke(*(every["carol", client] for client in AUDIENCES))
    world.agree()
    world.command("users", "disable", "dave")
    world.revoke(*(every["dave", client] for client in AUDIENCES))
    world.agree()

    # Client, and audience.
    world.command("revoke", "client", "kiosk")
    world.revoke(*(every[person, "kiosk"] for person in PEOPLE))
    world.agree()
    assert world.wrong({"x": lambda issued: world.by_lookup(issued, asked=4)})
    world.command("revoke", "client", AUDIENCES["shop"])
    world.revoke(*(every[person, "shop"] for person in PEOPLE))
    world.agree()
    assert not world.revoked[spared]

    # Key: whatever it signed. Each process of the issuer signs under the next one soon.
    world.command("revoke", "key", spared.kid)
    world.revoke(*world.revoked)
    for _ in until(SETTLED, "another key", pause=0.2):
        found = world.log_in("erin")
        if found.kid != spared.kid:
            break
        world.revoke(found)
    world.agree()

    # Epoch: whatever was issued until then.
    watermark = int(time.time())
    world.verifiers["Redis"]._denylist.add([Entry.epoch(secrets.token_urlsafe(16), watermark)])
    for issued in world.revoked:
        world.revoked[issued] = True
    world.agree()
    for _ in until(5, "the next second"):
        if time.time() >= watermark + 1:
            break
    # In whichever process it was signed, under whichever of two keys.
    for _ in until(SETTLED, "a new token", pause=0.2):
        found = world.log_in("erin")
        if found.kid != spared.kid:
            break
        world.revoke(found)
    world.agree()
    assert list(world.revoked.values()).count(False) == 1
