"""A month of key rotations, under load, at gateways that cache what they know of keys.

The load is every token that is not over, which each gateway verifies without a pause, also while
time moves and issuers change their keys.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.altered_issuer import Ticks
from harness.fault_scenario import PASSWORD
from harness.gatepass_command import Gatepass
from harness.issuer_process import IssuerFleet, IssuerProcess
from harness.processes import monotonic
from harness.redis_server import RedisServer
from harness.watching_gateway import WatchingGateway

from tokens.compact import parse_header

DAY = 86_400
DAYS = 30
STEP = 45
"""Seconds: less than the time for which issuers may see the ring differently."""
LEAP = 3_600
"""Seconds, while no key is about to change."""
CALM = 11
"""Steps without a change after which time leaps; a retired key stays for ten."""
LIFETIME = 300
MAX_STALENESS = 5.0
REAL_TIME = "real-denylist"
"""Time leaps for keys and tokens alone. The replicas live in real time; and an issuer that had just
read the time when it leapt would look, to the store, like one whose clock was put back."""
PAUSE = 0.005
"""Seconds between two rounds of verifying all tokens."""


def kid_of(access_token: str) -> str:
    return str(parse_header(access_token.partition(".")[0].encode())["kid"])


@dataclass
class Month:
    """Two issuers and three gateways that live in the same time, which the test moves."""

    fleet: IssuerFleet
    ticks: Ticks
    directory: Path
    gateways: list[WatchingGateway] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    held_back: set[int] = field(default_factory=set)
    kids: list[str] = field(default_factory=list)
    tokens: list[tuple[float, str]] = field(default_factory=list)
    verified: int = 0
    verified_meanwhile: int = 0

    @contextmanager
    def gateway(self, denylist: str) -> Iterator[None]:
        """One more, which verifies what the others do."""
        gateway = WatchingGateway(
            self.directory / f"gateway-{monotonic()}",
            issuer=self.fleet.url,
            denylist=denylist,
            options={"max_staleness": MAX_STALENESS, "heartbeat_interval": 0.25},
            clock=self.fleet.shift_file,
            pause=PAUSE,
        )
        with gateway:
            for _, token in self.tokens:
                gateway.watch(token)
            self.gateways.append(gateway)
            yield

    def move(self, seconds: int) -> None:
        """Let time pass; each issuer reads the ring now or, a quarter of the time, a step later."""
        self.let_go(self.fleet.now() + seconds)
        self.fleet.advance(seconds)
        late = {
            issuer.port
            for issuer in self.fleet.issuers
            if seconds == STEP and issuer.port not in self.held_back and self.chance.random() < 0.25
        }
        for issuer in self.chance.sample(self.fleet.issuers, len(self.fleet.issuers)):
            if issuer.port not in late:
                self.ticks.order(issuer.port)
        self.held_back = late

    def published(self) -> list[str]:
        """The kids that the first issuer's JWKS holds."""
        keys = self.fleet.issuers[0].ask("/.well-known/jwks.json").granted()["keys"]
        return sorted(key["kid"] for key in keys)

    def log_in(self) -> str:
        """A token from either issuer; the time of its making is noted."""
        now = self.fleet.now()
        issuer: IssuerProcess = self.chance.choice(self.fleet.issuers)
        token = str(issuer.login("someone", PASSWORD).granted()["access_token"])
        if kid_of(token) not in self.kids:
            self.kids.append(kid_of(token))
        self.tokens.append((now, token))
        for gateway in self.gateways:
            gateway.watch(token)
        return token

    def wait_in_step(self) -> None:
        """Until every gateway takes every token; what it said before does not count."""
        for _, token in self.tokens:
            for gateway in self.gateways:
                gateway.waits_until(token, "accepted")
                gateway.watch(token)

    def let_go(self, then: float) -> None:
        """Tokens that are over by then are verified no more; none was ever refused."""
        over = [(made, token) for made, token in self.tokens if then >= made + LIFETIME - 5]
        self.tokens = [each for each in self.tokens if each not in over]
        for _, token in over:
            for number, gateway in enumerate(self.gateways):
                counts = gateway.forget(token).counts
                assert set(counts) <= {"accepted"}, f"{counts} by gateway {number}"
                self.verified_meanwhile += counts.get("accepted", 0)

    def verify_all(self) -> None:
        """Every token that is not over is accepted, by every gateway."""
        now = self.fleet.now()
        for number, gateway in enumerate(self.gateways):
            said = gateway.verify_watched()
            for made, token in self.tokens:
                found, age = said[token], now - made
                assert found == "accepted", f"{found} by gateway {number}, {age:.0f} s old"
                self.verified += 1


@pytest.fixture
def alterations() -> tuple[str, ...]:
    """Of the issuers: none."""
    return ()


@pytest.fixture
def month(tmp_path: Path, alterations: tuple[str, ...]) -> Iterator[Month]:
    """Everything running, an account made; two gateways follow Redis, the last the HTTP feed."""
    ticks = Ticks(tmp_path / "ticks")
    ticks.directory.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(RedisServer())
        fleet = IssuerFleet(
            f"sqlite:///{tmp_path}/issuer.db",
            store.unix_url,
            tmp_path / "fleet",
            alterations=[f"ticks={ticks.directory}", REAL_TIME, *alterations],
            shifted=True,
            settings={"GATEPASS_WORKERS": "1", "GATEPASS_SIGNING_PERIOD": str(DAY)},
        )
        stack.enter_context(fleet)
        fleet.add_account("someone", PASSWORD)
        made = Month(fleet, ticks, tmp_path)
        # The feed is signed under the keys that change, by another issuer than the one whose JWKS
        # the gateways read.
        for denylist in (store.unix_url, store.unix_url, fleet.feed_url(1)):
            stack.enter_context(made.gateway(denylist))
        made.log_in()
        made.wait_in_step()
        yield made


def pass_days(month: Month, days: int) -> None:
    """Let time pass in small steps around each change of the keys, in leaps between."""
    begun = month.fleet.now()
    calm, known = 0, month.published()
    while month.fleet.now() < begun + days * DAY:
        month.move(STEP if calm < CALM else LEAP)
        month.log_in()
        month.verify_all()
        before, known = known, month.published()
        calm = calm + 1 if before == known else 0


def test_a_month_of_rotations_refuses_no_valid_token(month: Month) -> None:
    """A key a day, issuers that see each change at different times, tokens of all ages."""
    pass_days(month, DAYS)
    assert len(month.kids) >= DAYS - 2
    assert month.verified > 1_000
    assert month.verified_meanwhile > 2_000
    over_http = month.gateways[-1].process.stderr()
    assert "not signed as it must be" not in over_http, over_http


@pytest.mark.parametrize("alterations", [("no-overlap",)])
def test_keys_that_go_before_their_tokens_are_found_out(month: Month) -> None:
    """The mutant drops a key with its last signature, and valid tokens with it."""
    with pytest.raises(AssertionError, match=r"unknown_kid.* by gateway"):
        pass_days(month, DAYS)


def test_a_key_revoked_in_an_emergency_is_refused_at_every_gateway(
    month: Month, gatepass: Gatepass
) -> None:
    """Guarantee: within `max_staleness` of the command's return, whatever the JWKS cache holds.

    The feed of the gateway that follows over HTTP is signed under the key that is revoked.
    """
    token = month.log_in()
    month.wait_in_step()
    env = month.fleet.issuers[0].process.env
    ours = {name: text for name, text in env.items() if name.startswith("GATEPASS_")}
    moved = [f"clock={month.fleet.shift_file}", REAL_TIME]
    gatepass("keys", "revoke", kid_of(token), env=ours, alterations=moved).done()
    acknowledged = monotonic()
    for gateway in month.gateways:
        gateway.waits_until(token, "revoked", MAX_STALENESS + 10)
        assert gateway.said(token).last_accepted <= acknowledged + MAX_STALENESS
    month.tokens.clear()
    month.move(STEP)
    month.move(STEP)
    assert kid_of(month.log_in()) != kid_of(token)
    month.wait_in_step()
    month.verify_all()
