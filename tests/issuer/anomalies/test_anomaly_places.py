"""What can be said offline about where an address is, and what is made of user agents."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.anomaly_events import CHROME, FIREFOX, SCRIPT, Watch, refreshed, started
from harness.city_database import write_city_database

from issuer.anomalies.agents import LONGEST, family_of
from issuer.anomalies.geo import CityDatabase
from issuer.anomalies.opening import NoDatabase
from issuer.anomalies.places import Registries

LONDON, PARIS, SYDNEY = (51.5, -0.1), (48.9, 2.3), (-33.9, 151.2)
IN_LONDON, IN_PARIS, IN_SYDNEY = "62.1.2.3", "62.9.9.9", "2a02:7::1"
CITIES = {"62.1.2.0/24": LONDON, "62.9.9.0/24": PARIS, "2a02:7::/32": SYDNEY}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_city_database(tmp_path / "cities.mmdb", CITIES)


@pytest.mark.parametrize(
    ("address", "registry"),
    [
        ("62.1.2.3", "ripe"),
        ("24.1.2.3", "arin"),
        ("1.1.1.1", "apnic"),
        ("200.1.2.3", "lacnic"),
        ("41.1.2.3", "afrinic"),
        ("41.1.2.0/24", "afrinic"),
        ("2a02:1::1", "ripe"),
        ("2600:1::1", "arin"),
        ("::ffff:62.1.2.3", "ripe"),
        ("18.1.2.3", None),
        ("192.0.2.1", None),
        ("203.0.113.5", None),
        ("10.1.2.3", None),
        ("2001:db8::1", None),
        ("pseudonym", None),
        ("", None),
    ],
)
def test_registries_tell_parts_of_the_world(address: str, registry: str | None) -> None:
    """Of blocks that were given to one registry; old, private and unreadable ones tell nothing."""
    assert Registries().locate(address) == registry


def test_a_database_tells_kilometres(database: Path) -> None:
    """London and Paris are 340 km apart, and nobody gets to Sydney within a day's half."""
    places = CityDatabase(database, speed=1000)
    london, paris, sydney = (places.locate(each) for each in (IN_LONDON, IN_PARIS, IN_SYDNEY))
    assert london == list(LONDON)
    assert places.apart(london, paris, 15 * 60)
    assert not places.apart(london, paris, 30 * 60)
    assert places.apart(london, sydney, 16 * 3600)
    assert not places.apart(london, sydney, 18 * 3600)
    assert not places.near(london, paris)
    assert places.near(london, [52.2, 0.1])
    assert places.describe(london) == "51.5,-0.1"
    places.close()


@pytest.mark.parametrize("address", ["62.200.1.1", "2a02:8::1", "10.0.0.1", "no address", ""])
def test_a_database_does_not_know_everything(database: Path, address: str) -> None:
    """What it lacks, or what is no address, is nowhere."""
    places = CityDatabase(database, speed=1000)
    assert places.locate(address) is None
    places.close()


def test_what_registries_kept_means_nothing_to_a_database(database: Path) -> None:
    """Who installs one later begins anew, and is alarmed of nothing."""
    places = CityDatabase(database, speed=1000)
    assert not places.apart("ripe", list(SYDNEY), 1)
    places.close()


def test_a_journey_by_the_database(database: Path) -> None:
    """Within one registry's blocks, where the registries see nothing."""

    def found(**travel: object) -> list[str]:
        watch = Watch(impossible_travel=travel, new_device={"on": False})
        days = [started(day * 86_400, sid="home", address=IN_LONDON) for day in range(6)]
        away = started(5 * 86_400 + 60, sid="far", address=IN_SYDNEY)
        return watch.see(*days, away, refreshed(5 * 86_400 + 300, sid="home", address=IN_LONDON))

    assert found(database=str(database)) == ["impossible_travel"]
    assert found() == []


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    """Not there, or of another kind; a rule that is off opens nothing."""
    text = tmp_path / "text.mmdb"
    text.write_text("no database")
    for path in (tmp_path / "missing.mmdb", text):
        with pytest.raises(NoDatabase, match="is no database in MaxMind's format"):
            Watch(impossible_travel={"database": str(path)})
    Watch(impossible_travel={"database": str(text), "on": False})


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (CHROME, "Chrome/Windows"),
        (CHROME + " Edg/120.0", "Edge/Windows"),
        (FIREFOX, "Firefox/Linux"),
        ("Mozilla/5.0 (Linux; Android 10; K) Chrome/1 Mobile Safari/537.36", "Chrome/Linux"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/2 Safari/537.36", "Chrome/Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Version/17.5 Safari/604", "Safari/Apple"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X) Version/17.5 Safari/604", "Safari/Apple"),
        ("Shop/7.2 CFNetwork/1498 Darwin/23.6.0", "Shop/Apple"),
        (SCRIPT, "python-requests"),
        ("  \N{SNOWMAN}", "other"),
        ("x" * 4000, "x" * LONGEST),
        ("", ""),
    ],
)
def test_agents_are_compared_by_family(agent: str, family: str) -> None:
    """Without versions, and alike for a phone's page and the desktop's that it asks for."""
    assert family_of(agent) == family
