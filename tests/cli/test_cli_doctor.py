"""`gatepass doctor`: what it prints, and its exit code."""

from __future__ import annotations

from harness.running_demo import Run


def test_the_demo_is_in_order(run: Run) -> None:
    """As a developer's deployment: nothing has failed, and what is weak is said."""
    told = run("doctor", "--json").done().json
    assert told["counts"]["fail"] == 0, told
    found = {one["check"]: one for one in told["findings"]}
    for check in ("clocks", "redis_url:eviction", "redis_url:durability", "issuer", "ring"):
        assert found[check]["state"] == "ok", found[check]
    for check in ("rotation", "schema", "durability", "journal", "audit-log", "database-file"):
        assert found[check]["state"] == "ok", found[check]
    assert found["mode"]["state"] == "warn"
    assert all(one["todo"] for one in told["findings"] if one["state"] != "ok")


def test_what_has_failed_is_an_exit_code(run: Run) -> None:
    """And says why, and what to do."""
    failed = run("doctor", "--gateway", "http://127.0.0.1:1")
    assert failed.code == 1
    lines = failed.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("FAIL  gateway:"))
    assert lines[at + 1].startswith("      why: ")
    assert lines[at + 2].startswith("      do:  ")
    assert " 1 fail," in lines[-1]
