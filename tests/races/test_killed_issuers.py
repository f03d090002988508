"""An issuer dies by kill -9 amid the load; whatever was acknowledged stays so."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest
from harness.issuer_process import IssuerFleet, IssuerProcess, reaches
from harness.race_load import Race

from gateway import Verifier
from revocation import TokenRevoked, open_denylist

PASSWORD = "seven violet otters juggle 91"
NEW_PASSWORD = "an unlikely brass kettle 4417"
DEATHS = 4
ENOUGH = 20
"""Changes that were won, and ends of sessions, for the history to say something."""
LONGEST = 240
"""Seconds until it is over anyhow: a busy machine may take long to see enough."""
APART = 80
"""Requests between a death, the next start, and the next death."""


class Reaper:
    """Kills one issuer after the other, and starts it again, while requests are under way."""

    def __init__(self, race: Race, fleet: IssuerFleet) -> None:
        self.kills = 0
        self._race = race
        self._fleet = fleet
        self._next = APART
        self._starting = False

    @property
    def _victim(self) -> IssuerProcess:
        return self._fleet.issuers[self.kills % len(self._fleet.issuers)]

    def __call__(self) -> bool:
        """Do what is due, again and again; whether all deaths have been died."""
        if self.kills >= DEATHS:
            return True
        if self._starting:
            if answers(self._victim):
                self.kills += 1
                self._starting = False
                self._after_a_while()
        elif self._race.answered() >= self._next:
            if self._victim.process.running:
                self._victim.process.kill()
                self._after_a_while()
            else:
                self._victim.process.start()
                self._starting = True
        return self.kills >= DEATHS

    def _after_a_while(self) -> None:
        self._next = self._race.answered() + APART

    def finish(self) -> None:
        """Have every issuer up again."""
        for issuer in self._fleet.issuers:
            if not issuer.process.running:
                issuer.process.start()
            issuer.wait_ready()


def answers(issuer: IssuerProcess) -> bool:
    """Whether it is ready now."""
    try:
        with build_opener(ProxyHandler({})).open(f"{issuer.url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except URLError as error:
        if hasattr(error, "close"):
            error.close()
        return False
    except (OSError, http.client.HTTPException):
        return False


def test_no_acknowledged_revocation_is_undone(make_fleet: Callable[..., IssuerFleet]) -> None:
    """Issuers die in turn amid changes, logouts and refreshes, and the history has no fault."""
    fleet = make_fleet(settings={"GATEPASS_REUSE_INTERVAL": "0.05"})
    with (
        fleet.verifier() as verifier,
        Race(fleet, people=2, devices=6, seconds=LONGEST) as race,
    ):
        reaper = Reaper(race, fleet)

        def enough() -> bool:
            return reaper() and min(race.won(), race.ended()) >= ENOUGH

        race.watch(verifier, enough=enough)
        reaper.finish()
        violations, figures = race.settle(verifier)
    print(f"{figures}; {reaper.kills} issuers killed")
    assert violations == []
    assert reaper.kills == DEATHS
    assert figures.changes_won >= ENOUGH
    assert race.ended() >= ENOUGH


@pytest.fixture
def deadly(make_fleet: Callable[..., IssuerFleet], tmp_path: Path) -> IssuerFleet:
    """Two issuers; where `tmp_path / "die"` is, the next to complete a revocation dies of it."""
    fleet = make_fleet(alterations=[f"die-once={tmp_path}/die"])
    fleet.add_account("alice", PASSWORD)
    return fleet


def is_refused(fleet: IssuerFleet, verifier: Verifier, access_token: str) -> None:
    """No verifier takes the token, once it knows what is acknowledged."""
    denylist = open_denylist(fleet.redis_url)
    reaches(verifier.replica, denylist.state().position)
    denylist.close()
    with pytest.raises(TokenRevoked):
        verifier.verify(access_token)
    for issuer in fleet.issuers:
        assert not issuer.introspect(access_token)
        assert issuer.sessions(access_token).status == 401


def test_a_change_whose_issuer_died_before_the_denylist_is_completed(
    deadly: IssuerFleet, tmp_path: Path
) -> None:
    """SQL holds the change; the first login under the new password brings it to the gateways."""
    first, second = deadly.issuers
    before = first.login("alice", PASSWORD).granted()
    with deadly.verifier() as verifier:
        assert verifier.verify(before["access_token"])
        (tmp_path / "die").touch()
        with pytest.raises((OSError, http.client.HTTPException)):
            first.change_password(before["access_token"], PASSWORD, NEW_PASSWORD)
        assert not (tmp_path / "die").exists()
        assert second.login("alice", PASSWORD).status == 400
        after = second.login("alice", NEW_PASSWORD).granted()
        is_refused(deadly, verifier, before["access_token"])
        assert second.refresh(before["refresh_token"]).status == 400
        assert verifier.verify(after["access_token"])
        assert first.refresh(after["refresh_token"]).granted()


def test_a_logout_whose_issuer_died_before_the_denylist_is_completed(
    deadly: IssuerFleet, tmp_path: Path
) -> None:
    """The journal holds the end; whoever meets the session again brings it to the gateways."""
    first, second = deadly.issuers
    grant = first.login("alice", PASSWORD).granted()
    other = first.login("alice", PASSWORD).granted()
    with deadly.verifier() as verifier:
        (tmp_path / "die").touch()
        with pytest.raises((OSError, http.client.HTTPException)):
            first.ask("/logout", {"refresh_token": grant["refresh_token"]})
        assert not (tmp_path / "die").exists()
        assert second.refresh(grant["refresh_token"]).status == 400
        is_refused(deadly, verifier, grant["access_token"])
        assert verifier.verify(other["access_token"])
        assert second.refresh(other["refresh_token"]).granted()
