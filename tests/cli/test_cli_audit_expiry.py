"""`gatepass audit expire`: each kind of event for as long as the settings say."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

from harness.altered_issuer import write_shift
from harness.gatepass_command import Completed, Gatepass
from harness.issuer_app import CHEAP_HASHING, migrated_sqlite
from harness.served_issuer import toml

from revocation import open_denylist

HOUR = 3600


def test_events_go_by_their_kind_when_their_time_is_over(
    gatepass: Gatepass, redis_url: str, tmp_path: Path
) -> None:
    """One kind after three hours, the rest after nine; what is left verifies."""
    with closing(open_denylist(redis_url)) as denylist:
        denylist.initialise(watermark=0)
        denylist.mark_ready()
    clock = tmp_path / "clock"
    write_shift(clock, 0)
    settings = {
        "issuer": "http://127.0.0.1:1",
        "mode": "development",
        "database_url": f"sqlite:///{migrated_sqlite(tmp_path / 'issuer.db')}",
        "redis_url": redis_url,
        "keys_dir": str(tmp_path / "keys"),
        "hashing": CHEAP_HASHING,
        "clients": {"web": {"audience": "api"}},
        "audit": {"keep": 9 * HOUR, "keep_kinds": {"account_disabled": 3 * HOUR}},
    }
    (tmp_path / "gatepass.toml").write_text(toml(settings))

    def run(*arguments: str) -> Completed:
        return gatepass(
            *arguments,
            env={"GATEPASS_CONFIG": str(tmp_path / "gatepass.toml")},
            directory=tmp_path,
            alterations=[f"clock={clock}"],
        )

    def expired() -> int:
        return int(run("audit", "expire", "--json").done().json["taken_out"])

    def kinds() -> Counter[str]:
        events = run("audit", "search", "--sub", sub, "--json").done().json["events"]
        return Counter(event["event"] for event in events)

    sub = run("users", "add", "alice", "--generate", "--json").done().json["sub"]
    run("users", "disable", "alice").done()
    there = kinds()
    assert there["account_disabled"] == 1
    assert expired() == 0
    write_shift(clock, 4 * HOUR)
    assert expired() == 1
    assert kinds() == there - Counter(["account_disabled"])
    write_shift(clock, 10 * HOUR)
    assert expired() >= there.total() - 1
    assert kinds() == Counter()
    assert run("audit", "expire").done().out == "took out 0 events\n"
    assert run("audit", "verify", "--json").done().json["intact"] is True
